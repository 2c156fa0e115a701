"""Depth that was written, read back: every way to name it, and every way in which it may be damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3d_cli.cli import app
from m3d_cli.errors import M3dError, OutputError
from m3d_cli.formats.depth_folder import find_sidecar, load_depth

PALACE = Path(__file__).parents[2] / "data" / "photos" / "palace.jpg"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("depth")
    command = ["depth", str(PALACE), "--out", str(out), "--format", "png,npy,npz,conf", "-q"]
    assert app.main([*command, "--model", "m3d-test-lite", "--device", "cpu"]) == 0
    return out


def test_every_name_leads_to_the_same_depth(written):
    whole = load_depth(written)
    exact = np.load(written / "palace.npy")
    for name in ("palace.json", "palace.npz", "palace.npy"):
        np.testing.assert_array_equal(load_depth(written / name).depth.depth, exact)
    np.testing.assert_allclose(load_depth(written / "palace.png").depth.depth, exact, atol=0.00051)
    assert whole.file.name == "palace.npz"
    assert whole.photo == "palace.jpg"
    assert whole.model.name == "m3d-test-lite"
    # 640 x 427 pixels in a network of 84 x 56: the height decides.
    assert whole.cell == pytest.approx(427 / 56)
    assert whole.camera.focal == pytest.approx(whole.sidecar.camera.focal_px)
    assert load_depth(written / "palace.npy").depth.confidence.shape == exact.shape


def test_a_photo_finds_its_sidecar(written):
    assert find_sidecar(written, PurePosixPath("palace.jpg")).name == "palace.json"
    with pytest.raises(OutputError, match=r"no depth of x/palace\.jpg"):
        find_sidecar(written, PurePosixPath("x/palace.jpg"))  # another folder's palace.jpg is another photo
    with pytest.raises(OutputError, match="no depth of other"):
        find_sidecar(written, PurePosixPath("other.jpg"))


@pytest.mark.parametrize("name", ["none.png", "palace.conf.png", "m3d-run.jsonl", "none.json"])
def test_what_is_no_depth_is_refused_by_name(written, name):
    with pytest.raises(OutputError, match=name.split(".")[0]) as caught:
        load_depth(written / name)
    assert caught.value.hint


def test_depth_of_another_size_is_refused(written, tmp_path):
    shutil.copytree(written, tmp_path / "d")
    np.save(tmp_path / "d" / "palace.npy", np.ones((3, 4), np.float32))
    with pytest.raises(OutputError, match="3 x 4"):
        load_depth(tmp_path / "d" / "palace.npy")


@given(
    st.sampled_from(["palace.json", "palace.png", "palace.npy", "palace.npz"]),
    st.integers(0, 3000),
    st.binary(max_size=40),
    st.booleans(),
)
def test_damaged_files_give_an_error_and_no_traceback(written, tmp_path_factory, name, place, junk, is_cut):
    folder = tmp_path_factory.mktemp("damaged")
    for file in written.iterdir():
        (folder / file.name).symlink_to(file)
    data = (written / name).read_bytes()
    (folder / name).unlink()
    (folder / name).write_bytes(data[:place] + junk + (b"" if is_cut else data[place + len(junk) :]))
    told = ""
    try:
        found = load_depth(folder / name)
    except M3dError as error:
        told = error.message
    assert str(folder) in told if told else found.depth.depth.shape == (427, 640)


@pytest.mark.parametrize(("key", "value"), [("fx", 1e-9), ("fy", 1e30), ("cx", 1e30), ("cy", -1e9)])
def test_a_camera_of_no_lens_that_there_is_is_refused(written, tmp_path, key, value):
    shutil.copytree(written, tmp_path / "d")
    sidecar = json.loads((tmp_path / "d" / "palace.json").read_text())
    sidecar["camera"][key] = value
    (tmp_path / "d" / "palace.json").write_text(json.dumps(sidecar))
    with pytest.raises(OutputError, match=r"palace\.json: its camera is of no lens"):
        load_depth(tmp_path / "d" / "palace.json")


def test_numbers_that_are_no_depth_are_unknown(written, tmp_path):
    shutil.copytree(written, tmp_path / "d")
    depth = np.full((427, 640), 2.0, np.float32)
    depth[0, :6] = (np.nan, np.inf, -1, 0, 3e38, 1e-30)
    np.save(tmp_path / "d" / "palace.npy", depth)
    found = load_depth(tmp_path / "d" / "palace.npy").depth.depth
    assert np.isnan(found[0, :6]).all()
    assert (found[0, 6:] == 2).all()


@given(st.sampled_from(["camera.fx", "camera.width", "model.depth_scale", "camera.focal_source", "photo", "model"]),
       st.sampled_from([None, 0, -1, "x", [], {}, float("nan"), 10**400]))  # fmt: skip
def test_impossible_sidecars_are_refused(written, tmp_path_factory, key, value):
    folder = tmp_path_factory.mktemp("sidecar")
    (folder / "palace.npy").symlink_to(written / "palace.npy")
    content = json.loads((written / "palace.json").read_text())
    *parents, last = key.split(".")
    place = content
    for parent in parents:
        place = place[parent]
    place[last] = value
    (folder / "palace.json").write_text(json.dumps(content))
    if (key, value) == ("photo", "x"):
        assert load_depth(folder).photo == "x"
        return
    with pytest.raises(OutputError):
        load_depth(folder / "palace.json")


def test_sidecars_with_the_old_name_of_the_trust_are_read(written, tmp_path):
    shutil.copytree(written, tmp_path / "d")
    path = tmp_path / "d" / "palace.json"
    sidecar = json.loads(path.read_text())
    word = sidecar["camera"].pop("focal_trust")
    assert sidecar["camera"]["scale_trust"] == word
    path.write_text(json.dumps(sidecar))
    assert load_depth(path).sidecar.camera.focal_trust == word
