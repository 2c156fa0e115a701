"""Flow-warped error and filter on a plane that moves by known pixels."""

from __future__ import annotations

import numpy as np
import pytest

from m3d_cli.errors import UsageError
from m3d_cli.sequences.temporal import Flow, TemporalFilter, WarpedError


def texture(width: int = 200, height: int = 100) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = np.sin(x / 5) + np.sin(y / 4) + np.sin((x + y) / 7) + np.sin((x - 2 * y) / 11)
    return np.clip(128 + 28 * waves, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def clip(count: int, noise: float) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Image, true and noisy depth of a slanted wall that moves by three pixels a frame."""
    rng = np.random.default_rng(0)
    wide = texture(200 + 3 * count)
    frames = []
    for index in range(count):
        image = wide[:, 3 * index : 3 * index + 160]
        truth = np.broadcast_to(2 + np.arange(160, dtype=np.float32) / 400 + 3 * index / 400, (100, 160)).copy()
        factor = np.exp(rng.normal(scale=noise) + rng.normal(scale=noise / 2, size=truth.shape))
        frames.append((image, truth, (truth * factor).astype(np.float32)))
    return frames


def test_the_flow_knows_where_things_were() -> None:
    flow = Flow()
    frames = clip(2, 0.0)
    assert flow.warp(frames[0][0]) is None
    warp = flow.warp(frames[1][0])
    assert warp is not None
    x = np.arange(160, dtype=np.float32)
    middle = (slice(20, 80), slice(20, 130))
    np.testing.assert_allclose((warp.column - x)[middle], 3, atol=0.3)
    assert warp.seen[middle].mean() > 0.95
    # What has just come into the image was not seen before.
    assert np.isnan(warp.applied(frames[0][1])[:, 158:]).all()


def test_true_depth_does_not_flicker_and_noise_does() -> None:
    for noise, low, high in ((0.0, 0.0, 0.003), (0.05, 0.03, 0.12)):
        flow, error = Flow(), WarpedError()
        for image, _, depth in clip(12, noise):
            error.add(depth, flow.warp(image))
        assert error.value is not None
        assert low <= error.value <= high


def test_the_filter_lowers_flicker_and_error() -> None:
    flow, before, after, smooth = Flow(), WarpedError(), WarpedError(), TemporalFilter(0.7)
    raw, steadied = [], []
    for image, truth, depth in clip(16, 0.06):
        warp = flow.warp(image)
        found = smooth.add(depth, warp)
        before.add(depth, warp)
        after.add(found, warp)
        raw.append(np.abs(depth / truth - 1).mean())
        steadied.append(np.abs(found / truth - 1).mean())
    assert before.value is not None
    assert after.value is not None
    assert after.value < 0.7 * before.value
    assert np.mean(steadied) < np.mean(raw)


def test_another_scene_is_not_mixed_in() -> None:
    flow, smooth = Flow(), TemporalFilter(0.9)
    near, far = np.full((100, 160), 1.0, np.float32), np.full((100, 160), 4.0, np.float32)
    smooth.add(near, flow.warp(texture()[:, :160]))
    found = smooth.add(far, flow.warp(texture()[::-1, 40:][:, :160].copy()))
    np.testing.assert_allclose(found, 4.0, rtol=1e-5)


def test_unknown_depth_stays_unknown() -> None:
    smooth = TemporalFilter(0.5)
    depth = np.full((4, 5), 2.0, np.float32)
    depth[1, 1] = np.nan
    assert np.isnan(smooth.add(depth, None)).sum() == 1


@pytest.mark.parametrize("strength", [0.0, 1.0, -1.0, float("nan")])
def test_a_strength_outside_zero_and_one_is_refused(strength: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        TemporalFilter(strength)
