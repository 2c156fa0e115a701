import math
from dataclasses import replace

import pytest
import torch

from m3d_cli.training.augment import View, draw_view, look, relight
from m3d_cli.training.config import AugmentSection
from m3d_cli.training.dataset import Frames

CANVAS = (80, 60)
NETWORK = (48, 64)


def frames_of_a_slanted_plane(count: int) -> tuple[Frames, torch.Tensor]:
    """Frames whose depth is z = 1 / (a x/z + b y/z + c) on a plane, and the plane (a, b, c) per frame."""
    generator = torch.Generator().manual_seed(3)
    plane = torch.rand((count, 3), generator=generator) * 0.2 + torch.tensor([0.0, 0.0, 0.4])
    focal = 50 + 30 * torch.rand(count, generator=generator)
    cx, cy = torch.full((count,), 38.0), torch.full((count,), 31.5)
    u = (torch.arange(CANVAS[0]) + 0.5)[None, None, :]
    v = (torch.arange(CANVAS[1]) + 0.5)[None, :, None]
    x, y = (u - cx[:, None, None]) / focal[:, None, None], (v - cy[:, None, None]) / focal[:, None, None]
    inverse = plane[:, 0, None, None] * x + plane[:, 1, None, None] * y + plane[:, 2, None, None]
    image = torch.randint(0, 255, (count, 3, CANVAS[1], CANVAS[0]), dtype=torch.uint8, generator=generator)
    width, height = torch.full((count,), float(CANVAS[0])), torch.full((count,), float(CANVAS[1]))
    return Frames(image, (1 / inverse).half(), width, height, focal, cx, cy), plane


def plain_view(frames: Frames, height: int, width: int) -> View:
    """The whole picture, fitted and centred."""
    zoom = torch.minimum(height / frames.height, width / frames.width)
    zeros, ones = torch.zeros_like(zoom), torch.ones_like(zoom)
    return View(zoom, frames.width / 2, frames.height / 2, zeros, ones, ones * width, ones * height)


def rays_before(frames: Frames, view: View) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each network pixel looked in the stored camera, worked out point by point."""
    height, width = NETWORK
    rays = torch.empty(len(frames.focal), height, width, 2)
    for b in range(len(frames.focal)):
        cos, sin = math.cos(view.roll[b]), math.sin(view.roll[b])
        for row in range(height):
            for column in range(width):
                u = float(view.mirror[b]) * (column + 0.5 - width / 2) / float(view.zoom[b]) + float(view.centre_u[b])
                v = (row + 0.5 - height / 2) / float(view.zoom[b]) + float(view.centre_v[b])
                du, dv = u - float(frames.cx[b]), v - float(frames.cy[b])
                rays[b, row, column, 0] = (cos * du - sin * dv) / float(frames.focal[b])
                rays[b, row, column, 1] = (sin * du + cos * dv) / float(frames.focal[b])
    return rays[..., 0], rays[..., 1]


@pytest.mark.parametrize("letterbox", [0.0, 1.0])
def test_a_pixels_depth_is_that_of_the_point_it_looked_at_before(letterbox: float) -> None:
    frames, plane = frames_of_a_slanted_plane(3)
    settings = AugmentSection(zoom_low=0.8, zoom_high=2, letterbox=letterbox)
    view = draw_view(frames, *NETWORK, settings, torch.Generator().manual_seed(1))
    batch = look(frames, view, *NETWORK)
    x, y = rays_before(frames, view)
    expected = 1 / (plane[:, 0, None, None] * x + plane[:, 1, None, None] * y + plane[:, 2, None, None])
    known = torch.isfinite(batch.depth[:, 0])
    assert known.float().mean() > (0.5 if letterbox == 0 else 0.2)
    # Nearest sampling moves a ray by at most half a stored pixel; float16 storage adds 5e-4.
    assert torch.allclose(batch.depth[:, 0][known], expected[known], rtol=0.02)


def test_zoom_scales_the_focal_length_and_leaves_depth_metric() -> None:
    frames, _ = frames_of_a_slanted_plane(2)
    plain = plain_view(frames, *NETWORK)
    nearer = replace(plain, zoom=plain.zoom * 2)
    wide, tele = look(frames, plain, *NETWORK), look(frames, nearer, *NETWORK)
    assert torch.allclose(tele.focal, 2 * wide.focal)
    centre = (slice(None), 0, NETWORK[0] // 2, NETWORK[1] // 2)
    assert torch.allclose(tele.depth[centre], wide.depth[centre], rtol=0.03)


def test_the_plain_view_holds_the_whole_picture() -> None:
    frames, _ = frames_of_a_slanted_plane(1)
    batch = look(frames, plain_view(frames, *NETWORK), *NETWORK)
    assert bool(batch.inside.all())
    assert torch.isfinite(batch.depth).all()


def test_letterboxed_pictures_have_photo_shapes_with_border_around() -> None:
    frames, _ = frames_of_a_slanted_plane(64)
    settings = AugmentSection(zoom_low=1.0, zoom_high=1.7, roll_degrees=0, letterbox=1.0)
    view = draw_view(frames, *NETWORK, settings, torch.Generator().manual_seed(2))
    inside = look(frames, view, *NETWORK).inside[:, 0]
    rows, columns = inside.any(dim=2).sum(dim=1), inside.any(dim=1).sum(dim=1)
    assert torch.equal(inside.sum(dim=(1, 2)), rows * columns)  # a rectangle, filled
    assert bool(((rows == NETWORK[0]) | (columns == NETWORK[1])).all())  # as large as fits
    aspect = columns / rows
    assert 0.5 < aspect.min() < 0.7
    assert 2.8 < aspect.max() < 3.6
    assert torch.isnan(look(frames, view, *NETWORK).depth[:, 0][~inside]).all()


def test_sky_and_unknown_depth_keep_their_meaning() -> None:
    frames, _ = frames_of_a_slanted_plane(1)
    frames.depth[:, :20] = torch.inf
    frames.depth[:, 20:40] = torch.nan
    depth = look(frames, plain_view(frames, *NETWORK), *NETWORK).depth[0, 0]
    assert torch.isposinf(depth[0]).all()
    assert torch.isnan(depth[NETWORK[0] // 2]).all()
    assert torch.isfinite(depth[-1]).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_light_is_drawn_from_the_generator_alone(seed: int) -> None:
    image = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    first = relight(image, AugmentSection(), torch.Generator().manual_seed(seed))
    again = relight(image, AugmentSection(), torch.Generator().manual_seed(seed))
    assert torch.equal(first, again)
    assert not torch.equal(first, image)
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1
