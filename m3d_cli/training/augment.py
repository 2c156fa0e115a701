"""Random crops, zooms, rolls, mirrors and light, on the device, with the label transform keeping depth metric.

Zoom, crop, mirror and a roll about the optical axis change which camera took the picture, never how far things are: the
label stays in metres and becomes canonical by f_c / (f * r), r the zoom (arXiv 2307.10984, section 3.1, CSTM_label).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from m3d_cli.training.config import AugmentSection
from m3d_cli.training.dataset import Frames

# Rec. 601 luma, for the grey version that saturation blends with.
LUMA = (0.299, 0.587, 0.114)

# Width / height of photos, from a telephone held upright to a panoramic strip.
LETTERBOX_ASPECTS = (0.56, 3.4)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """How each picture of a batch is looked at: (B,) tensors.

    A network pixel x comes from stored pixel ``roll(mirror(x - width / 2) / zoom + centre)``, the roll being about the
    principal point. Outside the central ``window_width`` x ``window_height`` there is border, as around a photo of
    another shape than the network's input.
    """

    zoom: Tensor
    centre_u: Tensor
    centre_v: Tensor
    roll: Tensor
    mirror: Tensor
    window_width: Tensor
    window_height: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Network-ready pictures (B, 3, H, W) in 0..1, target depth (B, 1, H, W) metres (NaN unknown, inf sky), focal
    (B,) px.

    ``inside`` (B, 1, H, W) is false on the border that surrounds the picture.
    """

    image: Tensor
    depth: Tensor
    focal: Tensor
    inside: Tensor


def draw_view(frames: Frames, height: int, width: int, settings: AugmentSection, generator: torch.Generator) -> View:
    """A random view per frame; the crop stays inside the picture where the picture is larger than it."""
    uniform = torch.rand((6, len(frames.focal)), generator=generator).to(frames.focal.device)
    window_width, window_height, shaped = _draw_window(frames, height, width, settings, generator)
    across, down = window_width / frames.width, window_height / frames.height
    # A shaped window is filled, as a photo of that shape would fill it; otherwise the whole picture fits.
    fit = torch.where(shaped, torch.maximum(across, down), torch.minimum(across, down))
    low, high = math.log(settings.zoom_low), math.log(settings.zoom_high)
    zoom = fit * (low + (high - low) * uniform[0]).exp()
    return View(
        zoom=zoom,
        centre_u=_centre(frames.width, window_width / zoom, uniform[1]),
        centre_v=_centre(frames.height, window_height / zoom, uniform[2]),
        roll=(2 * uniform[3] - 1) * math.radians(settings.roll_degrees),
        mirror=torch.where(uniform[4] < settings.flip, -1.0, 1.0),
        window_width=window_width,
        window_height=window_height,
    )


def _draw_window(
    frames: Frames, height: int, width: int, settings: AugmentSection, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Width and height (B,) of the part of the network's input that shows the picture, and where it has a shape of its
    own.
    """
    count, device = len(frames.focal), frames.focal.device
    full = torch.full((count,), float(width), device=device), torch.full((count,), float(height), device=device)
    if settings.letterbox == 0:
        return *full, torch.zeros(count, dtype=torch.bool, device=device)
    uniform = torch.rand((2, count), generator=generator).to(device)
    low, high = (math.log(aspect) for aspect in LETTERBOX_ASPECTS)
    aspect = torch.exp(low + (high - low) * uniform[0])
    shaped = uniform[1] < settings.letterbox
    window_width = torch.where(shaped, (height * aspect).clamp(max=width).round(), full[0])
    window_height = torch.where(shaped, (width / aspect).clamp(max=height).round(), full[1])
    return window_width, window_height, shaped


def look(frames: Frames, view: View, height: int, width: int) -> Batch:
    """Pictures and metric depth of ``frames`` seen through ``view``; sampling is bilinear for light, nearest for
    depth.
    """
    u, v = _stored_positions(frames, view, height, width)
    inside = (u >= 0) & (v >= 0) & (u < frames.width[:, None, None]) & (v < frames.height[:, None, None])
    inside &= _within(view.window_width, width)[:, None, :] & _within(view.window_height, height)[:, :, None]
    rows, columns = frames.image.shape[-2:]
    grid = torch.stack([2 * u / columns - 1, 2 * v / rows - 1], dim=-1)
    image = F.grid_sample(frames.image.float() / 255, grid, mode="bilinear", align_corners=False)
    u_index = u.long().clamp(0, columns - 1)
    v_index = v.long().clamp(0, rows - 1)
    batch = torch.arange(len(u), device=u.device)[:, None, None]
    depth = frames.depth[batch, v_index, u_index].float()
    depth = torch.where(inside, depth, torch.nan)
    return Batch(image, depth[:, None], frames.focal * view.zoom, inside[:, None])


def relight(image: Tensor, settings: AugmentSection, generator: torch.Generator) -> Tensor:
    """Gamma, gain, colour cast, contrast, saturation, grey pictures and noise, drawn anew for every picture."""
    count = len(image)
    uniform = torch.rand((10, count, 1, 1, 1), generator=generator).to(image.device)
    touched = uniform[0] < settings.photometric
    out = image.clamp(1e-4, 1) ** torch.exp((2 * uniform[1] - 1) * 0.35)
    cast = torch.rand((count, 3, 1, 1), generator=generator).to(image.device)
    out = out * torch.exp((2 * uniform[2] - 1) * 0.3) * (0.9 + 0.2 * cast)
    mean = out.mean(dim=(1, 2, 3), keepdim=True)
    out = mean + (out - mean) * (0.7 + 0.6 * uniform[3])
    luma = torch.tensor(LUMA, device=image.device)[None, :, None, None]
    grey = (out * luma).sum(dim=1, keepdim=True)
    saturation = torch.where(uniform[4] < 0.08, 0.0, 0.5 + uniform[5])
    out = grey + (out - grey) * saturation
    out = torch.where(uniform[6] < 0.15, _blurred(out), out)
    sigma = 0.03 * uniform[7] ** 2
    out = out + sigma * torch.randn(out.shape, generator=_device_generator(generator, image), device=image.device)
    return torch.where(touched, out, image).clamp(0, 1)


def _device_generator(generator: torch.Generator, image: Tensor) -> torch.Generator:
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return torch.Generator(device=image.device).manual_seed(seed)


def _blurred(image: Tensor) -> Tensor:
    small = F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=False)
    return F.interpolate(small, image.shape[-2:], mode="bilinear", align_corners=False)


def _within(window: Tensor, size: int) -> Tensor:
    """(B, size): which pixels of a row or column lie in the centred window of ``window`` (B,) pixels."""
    offset = torch.arange(size, device=window.device) + 0.5 - size / 2
    return offset.abs()[None] < window[:, None] / 2


def _centre(size: Tensor, window: Tensor, uniform: Tensor) -> Tensor:
    # A window smaller than the picture moves inside it; a larger one moves half as far as it could, around it.
    room = size - window
    return size / 2 + (uniform - 0.5) * torch.where(room > 0, room, 0.5 * room)


def _stored_positions(frames: Frames, view: View, height: int, width: int) -> tuple[Tensor, Tensor]:
    device = frames.focal.device
    x = (torch.arange(width, device=device) + 0.5 - width / 2)[None, None, :]
    y = (torch.arange(height, device=device) + 0.5 - height / 2)[None, :, None]
    u = x * (view.mirror / view.zoom)[:, None, None] + view.centre_u[:, None, None]
    v = y / view.zoom[:, None, None] + view.centre_v[:, None, None]
    du, dv = u - frames.cx[:, None, None], v - frames.cy[:, None, None]
    cos, sin = view.roll.cos()[:, None, None], view.roll.sin()[:, None, None]
    rolled_u = cos * du - sin * dv + frames.cx[:, None, None]
    rolled_v = sin * du + cos * dv + frames.cy[:, None, None]
    return rolled_u, rolled_v
