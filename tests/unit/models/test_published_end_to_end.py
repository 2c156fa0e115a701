"""A published checkpoint, run by ``m3d depth`` and by an exported ONNX file, against the published code."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from m3d_cli.cli.app import main
from m3d_cli.formats.depth_png import read_depth_png
from m3d_cli.formats.normal_png import read_normal_png

STRIDE = 8  # of the golden metric depth


@pytest.fixture
def checkpoint(official_state, tmp_path):
    path = tmp_path / "metric_depth_vit_small_800k.pth"
    torch.save({"model_state_dict": official_state("vit-small")}, path)
    return path


@pytest.fixture
def intrinsics(golden, tmp_path):
    fx, fy, cx, cy = golden("vit-small", "nyu")["meta"]["intrinsic"]
    path = tmp_path / "camera.json"
    path.write_text(json.dumps({"width": 640, "height": 480, "fx": fx, "fy": fy, "cx": cx, "cy": cy}))
    return path


def test_the_depth_png_of_a_published_checkpoint_holds_the_published_metres(
    checkpoint, intrinsics, golden, nyu_photo, tmp_path
):
    out = tmp_path / "out"
    options = ("--model", "vit-small", "--weights", str(checkpoint), "--intrinsics", str(intrinsics))
    assert main(["depth", str(nyu_photo), "--out", str(out), "--format", "png,normal,conf", *options]) == 0
    name = nyu_photo.stem
    depth = read_depth_png(out / f"{name}.png").depth
    wanted = golden("vit-small", "nyu")["out/metric"]
    # Half a millimetre of rounding, and what two JPEG decoders may differ by; 16 bits of millimetres end at 65.535 m.
    held = np.where(wanted < 65.5, wanted, np.nan)
    found = np.where(wanted < 65.5, depth[::STRIDE, ::STRIDE], np.nan)
    np.testing.assert_allclose(found, held, rtol=2e-4, atol=6e-4)
    assert np.isnan(depth[::STRIDE, ::STRIDE][wanted > 65.6]).all()
    normals = read_normal_png(out / f"{name}.normal.png")
    assert normals.shape == (480, 640, 3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=2), 1, atol=1e-4)
    model = json.loads((out / f"{name}.json").read_text())["model"]
    # The file has the published layout, but random numbers: its bytes are not the published ones.
    assert model["name"] == f"{checkpoint.name} (vit-small)"
    assert model["backend"] == "torch"
    assert (model["input_height"], model["input_width"]) == (616, 1064)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit-small", "convnext-tiny"])
def test_exported_networks_compute_what_torch_computes(name, official_state, tmp_path, capsys):
    checkpoint, exported = tmp_path / "c.pth", tmp_path / f"{name}.onnx"
    torch.save({"model_state_dict": official_state(name)}, checkpoint)
    arguments = ["export", "onnx", "--model", name, "--weights", str(checkpoint), "--out", str(exported), "--json"]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["largest_difference"]["depth"] < 1e-3
    assert exported.stat().st_size == report["bytes"]
