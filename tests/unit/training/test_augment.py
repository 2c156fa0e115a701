import math
from dataclasses import replace

import pytest
import torch

from m3d_cli.canonical import CanonicalSpec
from m3d_cli.models.spec import TEST_LITE
from m3d_cli.training.augment import Batch, View, draw_view, look, mask_edges, plain_view
from m3d_cli.training.config import AugmentSection
from m3d_cli.training.dataset import Frames
from m3d_cli.training.draws import Draws, Share
from m3d_cli.training.light import degrade, relight

CANVAS = (80, 60)
NETWORK = (48, 64)
SPEC = replace(TEST_LITE, canonical=CanonicalSpec(focal=70, height=NETWORK[0], width=NETWORK[1]))
PLAIN = AugmentSection()


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
    view = draw_view(frames, SPEC, settings, Draws(1, 0, len(frames.focal)))
    batch = look(frames, view, SPEC)
    x, y = rays_before(frames, view)
    expected = 1 / (plane[:, 0, None, None] * x + plane[:, 1, None, None] * y + plane[:, 2, None, None])
    known = torch.isfinite(batch.depth[:, 0])
    assert known.float().mean() > (0.5 if letterbox == 0 else 0.2)
    # Nearest sampling moves a ray by at most half a stored pixel; float16 storage adds 5e-4.
    assert torch.allclose(batch.depth[:, 0][known], expected[known], rtol=0.02)


def test_zoom_scales_the_focal_length_and_leaves_depth_metric() -> None:
    frames, _ = frames_of_a_slanted_plane(2)
    plain = plain_view(frames, SPEC, PLAIN)
    nearer = replace(plain, zoom=plain.zoom * 2)
    wide, tele = look(frames, plain, SPEC), look(frames, nearer, SPEC)
    assert torch.allclose(tele.focal, 2 * wide.focal)
    centre = (slice(None), 0, NETWORK[0] // 2, NETWORK[1] // 2)
    assert torch.allclose(tele.depth[centre], wide.depth[centre], rtol=0.03)


def test_the_plain_view_holds_the_whole_picture() -> None:
    frames, _ = frames_of_a_slanted_plane(1)
    batch = look(frames, plain_view(frames, SPEC, PLAIN), SPEC)
    assert bool(batch.inside.all())
    assert torch.isfinite(batch.depth).all()


def test_letterboxed_pictures_have_photo_shapes_with_border_around() -> None:
    frames, _ = frames_of_a_slanted_plane(64)
    settings = AugmentSection(zoom_low=1.0, zoom_high=1.7, roll_degrees=0, letterbox=1.0)
    view = draw_view(frames, SPEC, settings, Draws(2, 0, len(frames.focal)))
    inside = look(frames, view, SPEC).inside[:, 0]
    rows, columns = inside.any(dim=2).sum(dim=1), inside.any(dim=1).sum(dim=1)
    assert torch.equal(inside.sum(dim=(1, 2)), rows * columns)  # a rectangle, filled
    assert bool(((rows == NETWORK[0]) | (columns == NETWORK[1])).all())  # as large as fits
    aspect = columns / rows
    assert 0.5 < aspect.min() < 0.7
    assert 2.8 < aspect.max() < 3.6
    assert torch.isnan(look(frames, view, SPEC).depth[:, 0][~inside]).all()


def test_sky_and_unknown_depth_keep_their_meaning() -> None:
    frames, _ = frames_of_a_slanted_plane(1)
    frames.depth[:, :20] = torch.inf
    frames.depth[:, 20:40] = torch.nan
    depth = look(frames, plain_view(frames, SPEC, PLAIN), SPEC).depth[0, 0]
    assert torch.isposinf(depth[0]).all()
    assert torch.isnan(depth[NETWORK[0] // 2]).all()
    assert torch.isfinite(depth[-1]).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_light_is_drawn_from_the_seed_alone(seed: int) -> None:
    image = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    first = relight(image, AugmentSection(), Draws(seed, 0, 4))
    again = relight(image, AugmentSection(), Draws(seed, 0, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, image)
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1


@pytest.mark.parametrize("transform", ["label", "image", "none"])
def test_a_pixels_metric_point_survives_the_whole_chain(transform: str) -> None:
    """Back-projected with the batch's own camera, each pixel is a point of the plane it was rendered from, turned back.

    Roll and mirror turn the plane with them.
    """
    frames, plane = frames_of_a_slanted_plane(6)
    settings = AugmentSection(transform=transform, zoom_low=0.8, zoom_high=2, letterbox=0.5)
    view = draw_view(frames, SPEC, settings, Draws(4, 0, 6))
    batch = look(frames, view, SPEC)
    canonical = batch.depth / batch.depth_factor(SPEC, transform)
    z = (canonical * batch.depth_factor(SPEC, transform))[:, 0]
    u, v = torch.arange(NETWORK[1]) + 0.5, (torch.arange(NETWORK[0]) + 0.5)[:, None]
    x = (u - batch.cx[:, None, None]) / batch.focal[:, None, None] * z * view.mirror[:, None, None]
    y = (v - batch.cy[:, None, None]) / batch.focal[:, None, None] * z
    cos, sin = view.roll.cos()[:, None, None], view.roll.sin()[:, None, None]
    points = torch.stack([cos * x - sin * y, sin * x + cos * y, z], dim=-1)
    known = torch.isfinite(z)
    assert known.float().mean() > 0.2
    # On the plane a x + b y + c z = 1.
    on_plane = (points * plane[:, None, None, :]).sum(dim=-1)[known]
    assert torch.allclose(on_plane, torch.ones_like(on_plane), atol=0.02)


def test_the_label_transform_scales_labels_by_the_focal_length() -> None:
    frames, _ = frames_of_a_slanted_plane(3)
    batch = look(frames, plain_view(frames, SPEC, PLAIN), SPEC)
    canonical = batch.depth / batch.depth_factor(SPEC, "label")
    assert torch.allclose(canonical, batch.depth * (70 / (frames.focal * 0.8))[:, None, None, None])


def test_the_image_transform_brings_every_camera_to_the_canonical_focal_length() -> None:
    frames, _ = frames_of_a_slanted_plane(40)
    settings = AugmentSection(transform="image", resize_low=0.85, resize_high=1.15)
    batch = look(frames, draw_view(frames, SPEC, settings, Draws(0, 0, 40)), SPEC)
    resize = batch.focal / 70
    assert 0.85 <= float(resize.min()) < 0.9
    assert 1.1 < float(resize.max()) <= 1.15
    assert torch.allclose(batch.depth_factor(SPEC, "image").flatten(), resize)
    plain = look(frames, plain_view(frames, SPEC, settings), SPEC)
    assert torch.allclose(plain.focal, torch.full((40,), 70.0))


def test_without_a_transform_labels_stay_metric() -> None:
    frames, _ = frames_of_a_slanted_plane(2)
    batch = look(frames, plain_view(frames, SPEC, PLAIN), SPEC)
    assert torch.equal(batch.depth_factor(SPEC, "none"), torch.ones(2, 1, 1, 1))


def test_processes_that_share_a_batch_see_what_one_alone_would() -> None:
    frames, _ = frames_of_a_slanted_plane(6)
    settings = AugmentSection(letterbox=0.5, soften=0.5, compress=0.5)

    def seen(share: Share) -> torch.Tensor:
        draws = Draws(3, 7, 6, share)
        chosen = draws.chosen(torch.ones(6))
        mine = Frames(*(getattr(frames, name)[chosen] for name in Frames.__slots__))
        batch = look(mine, draw_view(mine, SPEC, settings, draws), SPEC)
        return degrade(relight(batch.image, settings, draws), settings, draws)

    whole = seen(Share())
    assert torch.equal(seen(Share(0, 2)), whole[0::2])
    assert torch.equal(seen(Share(1, 2)), whole[1::2])


def test_softened_pictures_lose_detail_and_compressed_ones_change() -> None:
    image = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    soft = degrade(image, AugmentSection(soften=1, compress=0), Draws(0, 0, 8))
    assert float(soft.std()) < 0.8 * float(image.std())
    assert torch.equal(degrade(image, AugmentSection(soften=0, compress=0), Draws(0, 0, 8)), image)
    stored = degrade(image, AugmentSection(soften=0, compress=1), Draws(0, 0, 8))
    assert 0 < float((stored - image).abs().mean()) < 0.3


def test_parts_of_a_batch_are_the_batch() -> None:
    frames, _ = frames_of_a_slanted_plane(6)
    batch = look(frames, plain_view(frames, SPEC, PLAIN), SPEC)
    parts = list(batch.parts(3))
    assert [len(part.focal) for part in parts] == [2, 2, 2]
    assert all(isinstance(part, Batch) for part in parts)
    assert torch.equal(torch.cat([part.image for part in parts]), batch.image)


def test_focal_lengths_can_be_drawn_whatever_the_scene() -> None:
    frames, _ = frames_of_a_slanted_plane(400)
    settings = AugmentSection(equivalent_mm=40, equivalent_spread=0.3, letterbox=0.5)
    view = draw_view(frames, SPEC, settings, Draws(0, 0, 400))
    diagonal = torch.hypot(view.window_width, view.window_height)
    equivalent = look(frames, view, SPEC).focal / diagonal * 43.2666
    assert float(equivalent.median()) == pytest.approx(40, rel=0.05)
    assert float(equivalent.log().std()) == pytest.approx(0.3, rel=0.1)
    assert abs(float(torch.corrcoef(torch.stack([equivalent.log(), frames.focal.log()]))[0, 1])) < 0.15


def test_masked_edges_are_border_without_labels() -> None:
    frames, _ = frames_of_a_slanted_plane(40)
    batch = look(frames, plain_view(frames, SPEC, PLAIN), SPEC)
    some = mask_edges(batch, AugmentSection(edge_mask=0.5), Draws(0, 0, 40))
    whole = some.inside.flatten(1).all(dim=1)
    assert 5 < int(whole.sum()) < 35
    assert torch.isnan(some.depth[~some.inside]).all()
    assert torch.equal(some.depth[some.inside], batch.depth[some.inside])
    kept = some.inside[~whole, 0].any(dim=1).sum(dim=1)
    assert int(kept.min()) < NETWORK[1] - 30
    assert torch.equal(mask_edges(batch, PLAIN, Draws(0, 0, 40)).inside, batch.inside)


def test_hues_turn_and_brightness_stays() -> None:
    image = torch.tensor([0.8, 0.2, 0.2])[None, :, None, None].expand(6, 3, 8, 8).contiguous()
    turned = degrade(image, AugmentSection(soften=0, compress=0, hue_degrees=60), Draws(0, 0, 6))
    assert torch.allclose(turned.amax(dim=1), image.amax(dim=1), atol=1e-4)
    assert torch.allclose(turned.amin(dim=1), image.amin(dim=1), atol=1e-4)
    assert len({tuple(round(float(x), 3) for x in one[:, 0, 0]) for one in turned}) == 6


def test_motion_blurs_along_one_line_and_keeps_the_light() -> None:
    image = torch.zeros(1, 3, 41, 41)
    image[..., 20, 20] = 1
    blurred = degrade(image, AugmentSection(soften=0, compress=0, motion_blur=1), Draws(3, 0, 1))[0, 0]
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-3)
    rows, columns = torch.nonzero(blurred > 1e-4, as_tuple=True)
    assert 5 <= len(rows) <= 17
    spread = torch.linalg.svdvals(torch.stack([rows - rows.float().mean(), columns - columns.float().mean()]))
    assert float(spread[1]) < 0.35 * float(spread[0])
