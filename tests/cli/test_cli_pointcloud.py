"""``m3d pointcloud`` from end to end: photos to clouds, stored depth to clouds without torch, pipes and resuming."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from m3d_cli.cli.app import main
from m3d_cli.formats.ply import read_ply
from m3d_cli.pointcloud import Axes

MODEL = ("--model", "m3d-test-lite")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "deep/b c.png"):
        Image.fromarray(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)).save(folder / name)
    return folder


def test_photos_become_coloured_clouds_meshes_and_previews(photos, tmp_path):
    out = tmp_path / "out"
    options = ("--focal", "80", "--format", "ply,glb,xyz,pcd", "--preview", "--keep-edges", *MODEL)
    assert main(["pointcloud", str(photos), "-r", "--out", str(out), *options]) == 0
    cloud = read_ply(out / "deep" / "b c.ply")
    assert len(cloud) == 60 * 90
    with Image.open(photos / "deep" / "b c.png") as picture:
        np.testing.assert_array_equal(cloud.colours, np.asarray(picture).reshape(-1, 3))
    for suffix in (".glb", ".xyz", ".pcd", ".cloud.png"):
        assert (out / "deep" / f"b c{suffix}").stat().st_size > 1000
    sidecar = json.loads((out / "deep" / "b c.json").read_text())
    axes = {entry["format"]: entry["axes"] for entry in sidecar["outputs"]}
    assert axes["ply"] == "opencv: x right, y down, z forward"
    assert axes["glb"] == "opengl: x right, y up, z backward"
    header = (out / "a.ply").read_bytes().split(b"end_header")[0].decode()
    assert "comment unit metre" in header
    assert "focal from user" in header


def test_axes_stride_and_confidence_change_the_cloud(photos, tmp_path):
    def points(name, *more):
        out = tmp_path / name
        arguments = ["pointcloud", str(photos / "a.png"), "--focal", "80", "--out", str(out), "--keep-edges"]
        assert main([*arguments, *more, *MODEL]) == 0
        return read_ply(out / "a.ply")

    plain, up = points("plain"), points("up", "--axes", "zup")
    assert up.axes is Axes.Z_UP
    np.testing.assert_array_equal(up.points, plain.points[:, [0, 2, 1]] * [1, 1, -1])
    assert len(points("stride", "--stride", "3")) == 20 * 30
    middle = float(np.median(plain.confidence))
    assert len(points("sure", "--min-confidence", str(middle))) == pytest.approx(2700, abs=60)
    assert len(points("voxel", "--voxel", "0.5")) < len(plain)
    normals = points("normals", "--normals").normals
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)


def test_a_second_run_makes_nothing_anew(photos, tmp_path, capsys):
    arguments = ["pointcloud", str(photos), "-r", "--out", str(tmp_path / "out"), "--json", *MODEL]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main(arguments) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["status"] for line in lines] == ["skipped", "skipped"]


@pytest.mark.parametrize("kind", ["npz", "npy", "png"])
def test_stored_depth_gives_the_cloud_of_the_photo_without_torch(photos, tmp_path, kind):
    depth, direct, again = tmp_path / "depth", tmp_path / "direct", tmp_path / "again"
    camera = ("--focal", "80")
    every = "--keep-edges"  # a rounded depth has other edges
    assert main(["depth", str(photos), "-r", "--out", str(depth), "--format", kind, *camera, *MODEL]) == 0
    assert main(["pointcloud", str(photos), "-r", "--out", str(direct), every, *camera, *MODEL]) == 0
    code = (
        "import sys; from m3d_cli.cli.app import main; "
        "code = main(sys.argv[1:]); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    arguments = ("pointcloud", str(photos), "-r", "--depth", str(depth), "--out", str(again), every)
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    one, other = read_ply(direct / "deep" / "b c.ply"), read_ply(again / "deep" / "b c.ply")
    np.testing.assert_array_equal(one.colours, other.colours)
    np.testing.assert_allclose(one.points, other.points, atol=6e-4 if kind == "png" else 1e-6)


def test_depth_alone_is_input_enough_and_changed_depth_is_noticed(photos, tmp_path, capsys):
    depth, out = tmp_path / "depth", tmp_path / "out"
    assert main(["depth", str(photos), "-r", "--out", str(depth), "--format", "npy", *MODEL]) == 0
    arguments = ["pointcloud", "--depth", str(depth), "--out", str(out), "--json"]
    assert main(arguments) == 0
    assert read_ply(out / "deep" / "b c.ply").colours is None
    np.save(depth / "a.npy", np.full((60, 90), 3.0, dtype=np.float32))
    capsys.readouterr()
    assert main(arguments) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["status"] for line in lines] == ["done", "skipped"]
    np.testing.assert_allclose(read_ply(out / "a.ply").points[:, 2], 3)


def test_one_ply_goes_into_a_pipe(photos, tmp_path):
    arguments = ("pointcloud", str(photos / "a.png"), "--focal", "80", "--out", "-", *MODEL)
    run = subprocess.run([sys.executable, "-m", "m3d_cli", *arguments], capture_output=True, check=True)
    (tmp_path / "piped.ply").write_bytes(run.stdout)
    assert len(read_ply(tmp_path / "piped.ply")) > 1000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("pointcloud", "--out", "x"), 2, "no photos and no --depth"),
        (("pointcloud", "a.png"), 2, "no --out given"),
        (("pointcloud", "a.png", "--out", "x", "--axes", "yup"), 2, "--axes yup is unknown"),
        (("pointcloud", "a.png", "--out", "x", "--voxel", "-1"), 2, "--voxel -1"),
        (("pointcloud", "a.png", "--out", "x", "--min-confidence", "7"), 2, "not between 0 and 1"),
        (("pointcloud", "a.png", "--depth", ".", "--out", "x", "--focal", "9"), 2, "has its own focal length"),
        (("pointcloud", "a.png", "--depth", ".", "--out", "x", "--model", "lite"), 2, "existing depth maps"),
        (("pointcloud", "--depth", ".", "--out", "x"), 4, "no depth in it"),
        (("pointcloud", "--depth", "gone.npz", "--out", "x"), 3, "gone"),
        (("pointcloud", "a.png", "--depth", ".", "--out", "x"), 3, "no depth of a.png"),
    ],
)
def test_what_cannot_be_done_is_said(photos, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(photos)
    assert main([*arguments, *(() if "--depth" in arguments else MODEL)]) == code
    assert message in capsys.readouterr().err


def test_a_photo_of_another_size_than_its_depth_is_refused(photos, tmp_path, capsys):
    depth = tmp_path / "depth"
    assert main(["depth", str(photos / "a.png"), "--out", str(depth), "--format", "npy", *MODEL]) == 0
    Image.new("RGB", (45, 30)).save(photos / "a.png")
    capsys.readouterr()
    assert main(["pointcloud", str(photos / "a.png"), "--depth", str(depth), "--out", str(tmp_path / "o")]) == 3
    assert "give the photo that the depth was made from" in capsys.readouterr().err


def gltf(path):
    data = path.read_bytes()
    return json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])


def test_a_mesh_says_its_unit_axes_and_stride_and_which_flags_it_does_not_follow(photos, tmp_path, capsys):
    photo, out = str(photos / "a.png"), tmp_path / "out"
    command = ["pointcloud", photo, "--focal", "80", "--keep-edges", "--out", str(out), *MODEL]
    for flag in (["--axes", "zup"], ["--axes", "opencv"], ["--voxel", "0.1"], ["--remove-outliers"], ["--normals"]):
        assert main([*command, "--format", "glb", *flag]) == 2
        assert f"{flag[0]}: a GLB is a mesh" in capsys.readouterr().err
    assert not out.exists()
    assert main([*command, "--format", "ply,glb", "--axes", "zup", "--stride", "3"]) == 0
    assert "--axes: a GLB is a mesh" in capsys.readouterr().err
    extras = gltf(out / "a.glb")["asset"]["extras"]
    assert extras["unit"] == "metre"
    assert extras["axes"] == "opengl: x right, y up, z backward"
    assert extras["stride"] == "3"
    assert main([*command, "--format", "glb", "--axes", "opengl", "--overwrite", "-q"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["ply", "glb"])
def test_an_empty_cloud_is_told_and_counted_and_still_resumed(photos, tmp_path, capsys, kind):
    command = ["pointcloud", str(photos), "-r", "--focal", "80", "--format", kind, "--max-depth", "0.0001", *MODEL]
    for status in ("done", "skipped"):
        assert main([*command, "--out", str(tmp_path / "out"), "--json"]) == 0
        output = capsys.readouterr()
        assert "2 of 2 photos: the cloud is empty" in output.err
        lines = [json.loads(line) for line in output.out.splitlines()]
        assert [(line["status"], line["points"]) for line in lines] == [(status, 0), (status, 0)]
        assert "no point of the cloud is left" in lines[0]["warnings"][-1]


def test_an_empty_cloud_in_a_pipe_is_reported(photos, tmp_path):
    command = [sys.executable, "-m", "m3d_cli", "pointcloud", str(photos / "a.png"), "--focal", "80", *MODEL]
    done = subprocess.run([*command, "--max-depth", "0.0001", "--out", "-"], capture_output=True, check=False)
    assert done.returncode == 0
    assert b"no point of the cloud is left" in done.stderr
    (tmp_path / "piped.ply").write_bytes(done.stdout)
    assert read_ply(tmp_path / "piped.ply").points.shape == (0, 3)


def test_help_names_what_goes_into_the_pipe(capsys):
    assert main(["pointcloud", "--help"]) == 0
    assert "one photo's file" in " ".join(capsys.readouterr().out.replace("│", " ").split())
