"""The sidecar: statistics of the depth, trust in the scale, and strict JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from m3d_cli.camera import Camera, FocalSource
from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.errors import OutputError
from m3d_cli.formats.sidecar import (
    CameraRecord,
    CandidateRecord,
    ModelRecord,
    OutputRecord,
    Sidecar,
    depth_record,
    encode_sidecar,
    focal_trust,
)


def result(depth):
    return DepthMap(depth, Camera.centred(depth.shape[1], depth.shape[0], 100.0))


def test_statistics_of_a_small_map_are_exact():
    depth = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
    depth[0, 0] = np.nan
    record = depth_record(result(depth).summary, clipped=3)
    assert (record.min_m, record.max_m, record.median_m) == (2, 100, 51)
    assert (record.p01_m, record.p99_m) == (pytest.approx(2.98, abs=1e-3), pytest.approx(99.02, abs=1e-3))
    assert (record.known_pixels, record.unknown_pixels, record.clipped_pixels) == (99, 1, 3)


def test_statistics_of_a_large_map_have_exact_ends_and_sampled_middle():
    depth = np.random.default_rng(0).uniform(1, 3, (1500, 2000)).astype(np.float32)
    depth[7, 7], depth[8, 8] = 0.5, 9.0
    record = depth_record(result(depth).summary, clipped=0)
    assert (record.min_m, record.max_m) == (0.5, 9.0)
    assert record.median_m == pytest.approx(2.0, abs=0.01)


def test_a_map_of_nothing_has_no_statistics():
    record = depth_record(result(np.full((3, 4), np.nan, dtype=np.float32)).summary, clipped=0)
    assert record.min_m is record.median_m is record.max_m is None
    assert (record.known_pixels, record.unknown_pixels) == (0, 12)


@pytest.mark.parametrize(("sigma", "word"), [(0.005, "high"), (0.05, "high"), (0.1, "medium"), (0.25, "low")])
def test_trust_follows_the_focal_length(sigma, word):
    assert focal_trust(Camera.centred(4, 3, 5.0, FocalSource.ESTIMATED, sigma)) == word


def test_a_depth_map_must_fit_its_camera():
    with pytest.raises(OutputError, match="float32"):
        DepthMap(np.ones((3, 4)), Camera.centred(4, 3, 5.0))  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="confidence"):
        DepthMap(np.ones((3, 4), np.float32), Camera.centred(4, 3, 5.0), np.ones((4, 3), np.float32))
    assert DepthMap(np.array([[1, np.nan]], np.float32), Camera.centred(2, 1, 5.0)).valid.tolist() == [[True, False]]


def test_the_sidecar_is_strict_json_even_for_odd_names():
    depth = np.ones((3, 4), dtype=np.float32)
    camera = CameraRecord(
        4,
        3,
        5.0,
        5.0,
        2.0,
        1.5,
        5.0,
        "user",
        0.005,
        43.6,
        "high",
        "--focal",
        (CandidateRecord(5.0, "user", 0.005),),
        (),
    )
    model = ModelRecord("m", "0" * 64, "l", "torch", "fp32", "label", 300.0, 56, 84, 1.0, DepthErrorModel())
    side = Sidecar(
        "caf\udce9 \n.jpg", "0", camera, model, depth_record(result(depth).summary, 0), (OutputRecord("a", "png"),)
    )
    data = encode_sidecar(side)
    assert data.endswith(b"}\n")
    read = json.loads(data)
    assert read["photo"] == "caf\udce9 \n.jpg"
    assert read["camera"]["pixel_centre"] == 0.5
    assert read["depth"]["unit"] == "metre"
