"""Random crops, zooms, rolls and mirrors, on the device, and the canonical transforms (arXiv 2307.10984, section 3.1).

Zoom, crop, mirror and a roll about the optical axis change which camera took the image, never how far things are: the
label stays in metres, the camera follows. A label becomes canonical by f_c / f, f being the focal length in pixels of
the network's input. With CSTM_label any zoom may be drawn. CSTM_image draws the one that gives f = rho f_c, rho being
the random resize after it, so that the label is divided by rho and by nothing else. Without a transform the label stays
metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from m3d_cli.intrinsics.sensors import FULL_FRAME_DIAGONAL
from m3d_cli.models.spec import ModelSpec
from m3d_cli.training.config import AugmentSection
from m3d_cli.training.dataset import Frames
from m3d_cli.training.draws import Draws

# The widest strip that is masked at an edge, in pixels (RandomEdgeMask of the published training).
WIDEST_EDGE = 49

# Width / height of photos, from a telephone held upright to a panoramic strip.
LETTERBOX_ASPECTS = (0.56, 3.4)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """How each image of a batch is looked at: (B,) tensors.

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
    """Network-ready images (B, 3, H, W) in 0..1 and target depth (B, 1, H, W) metres (NaN unknown, inf sky).

    ``focal``, ``cx``, ``cy`` (B,) are the camera in pixels of the network's input; ``inside`` (B, 1, H, W) is false on
    the border that surrounds the image.
    """

    image: Tensor
    depth: Tensor
    focal: Tensor
    cx: Tensor
    cy: Tensor
    inside: Tensor

    def depth_factor(self, spec: ModelSpec, transform: str) -> Tensor:
        """f / f_c (B, 1, 1, 1), by which metric depth is more than what the network predicts; 1 without a transform."""
        if transform == "none":
            return torch.ones_like(self.focal)[:, None, None, None]
        return (self.focal / spec.canonical.focal)[:, None, None, None]

    def parts(self, count: int) -> Iterator[Batch]:
        """The batch in ``count`` equal parts, fewer where it is too small."""
        pieces = [getattr(self, field.name).tensor_split(min(count, len(self.focal))) for field in fields(self)]
        return (Batch(*tensors) for tensors in zip(*pieces, strict=True))


def draw_view(frames: Frames, spec: ModelSpec, settings: AugmentSection, draws: Draws) -> View:
    """A random view per frame; the crop stays inside the image where the image is larger than it."""
    uniform = draws.uniform(5).to(frames.focal.device)
    height, width = spec.canonical.height, spec.canonical.width
    window_width, window_height, shaped = _draw_window(frames, height, width, settings, draws)
    across, down = window_width / frames.width, window_height / frames.height
    # A shaped window is filled, as a photo of that shape would fill it; otherwise the whole image fits.
    fit = torch.where(shaped, torch.maximum(across, down), torch.minimum(across, down))
    low, high = settings.zoom_low, settings.zoom_high
    if settings.transform == "image":
        fit = spec.canonical.focal / frames.focal
        low, high = settings.resize_low, settings.resize_high
    zoom = fit * (math.log(low) + math.log(high / low) * uniform[0]).exp()
    if settings.equivalent_mm is not None:
        zoom = _zoom_of_equivalent(frames, torch.hypot(window_width, window_height), settings, uniform[0])
    return View(
        zoom=zoom,
        centre_u=_centre(frames.width, window_width / zoom, uniform[1]),
        centre_v=_centre(frames.height, window_height / zoom, uniform[2]),
        roll=(2 * uniform[3] - 1) * math.radians(settings.roll_degrees),
        mirror=torch.where(uniform[4] < settings.flip, -1.0, 1.0),
        window_width=window_width,
        window_height=window_height,
    )


def _zoom_of_equivalent(frames: Frames, diagonal: Tensor, settings: AugmentSection, uniform: Tensor) -> Tensor:
    """Zoom that gives each image a 35 mm equivalent drawn from the distribution of the settings."""
    assert settings.equivalent_mm is not None  # noqa: S101 - asked by the caller
    away = math.sqrt(2) * torch.erfinv((2 * uniform - 1).clamp(-0.99, 0.99))
    ratio = settings.equivalent_mm / FULL_FRAME_DIAGONAL * (settings.equivalent_spread * away).exp()
    return ratio * diagonal / frames.focal


def plain_view(frames: Frames, spec: ModelSpec, settings: AugmentSection) -> View:
    """What the network is shown outside training: the whole image, or as much of it as the image transform leaves."""
    height, width = spec.canonical.height, spec.canonical.width
    zoom = torch.minimum(height / frames.height, width / frames.width)
    if settings.transform == "image":
        zoom = spec.canonical.focal / frames.focal
    zeros, ones = torch.zeros_like(zoom), torch.ones_like(zoom)
    return View(zoom, frames.width / 2, frames.height / 2, zeros, ones, ones * width, ones * height)


def _draw_window(
    frames: Frames, height: int, width: int, settings: AugmentSection, draws: Draws
) -> tuple[Tensor, Tensor, Tensor]:
    """Width and height (B,) of the part of the network's input that shows the image, and where it has a shape of its
    own.
    """
    count, device = len(frames.focal), frames.focal.device
    full = torch.full((count,), float(width), device=device), torch.full((count,), float(height), device=device)
    if settings.letterbox == 0:
        return *full, torch.zeros(count, dtype=torch.bool, device=device)
    uniform = draws.uniform(2).to(device)
    low, high = (math.log(aspect) for aspect in LETTERBOX_ASPECTS)
    aspect = torch.exp(low + (high - low) * uniform[0])
    shaped = uniform[1] < settings.letterbox
    window_width = torch.where(shaped, (height * aspect).clamp(max=width).round(), full[0])
    window_height = torch.where(shaped, (width / aspect).clamp(max=height).round(), full[1])
    return window_width, window_height, shaped


def look(frames: Frames, view: View, spec: ModelSpec) -> Batch:
    """Images and metric depth of ``frames`` seen through ``view`` at the size of the network's input; sampling is
    bilinear for light, nearest for depth.
    """
    height, width = spec.canonical.height, spec.canonical.width
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
    cx, cy = _principal_point(frames, view, height, width)
    return Batch(image, depth[:, None], frames.focal * view.zoom, cx, cy, inside[:, None])


def mask_edges(batch: Batch, settings: AugmentSection, draws: Draws) -> Batch:
    """Some images without strips at their four edges, each of another width: border, and no label."""
    uniform = draws.uniform(5).to(batch.depth.device)
    rows, columns = batch.depth.shape[-2:]
    masked = (uniform[0] < settings.edge_mask).float()
    left, right, top, bottom = ((WIDEST_EDGE + 1) * masked * one for one in uniform[1:])
    u = torch.arange(columns, device=batch.depth.device)[None, None, None, :]
    v = torch.arange(rows, device=batch.depth.device)[None, None, :, None]
    left, right, top, bottom = (x.floor()[:, None, None, None] for x in (left, right, top, bottom))
    kept = (u >= left) & (u < columns - right) & (v >= top) & (v < rows - bottom)
    return replace(batch, depth=torch.where(kept, batch.depth, torch.nan), inside=batch.inside & kept)


def _principal_point(frames: Frames, view: View, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where the optical axis meets the network's input; the roll is about it and leaves it."""
    cx = width / 2 + view.mirror * view.zoom * (frames.cx - view.centre_u)
    return cx, height / 2 + view.zoom * (frames.cy - view.centre_v)


def _within(window: Tensor, size: int) -> Tensor:
    """(B, size): which pixels of a row or column lie in the centred window of ``window`` (B,) pixels."""
    offset = torch.arange(size, device=window.device) + 0.5 - size / 2
    return offset.abs()[None] < window[:, None] / 2


def _centre(size: Tensor, window: Tensor, uniform: Tensor) -> Tensor:
    # A window smaller than the image moves inside it; a larger one moves half as far as it could, around it.
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
