"""Photos that are not flat, through the commands."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from m3d_cli.cli import app
from m3d_cli.formats.depth_png import TYPE_KEY, read_depth_png
from m3d_cli.formats.ply import read_ply
from m3d_cli.formats.png16 import text_of
from m3d_cli.spherical import SphericalCamera

TEST_MODEL = ["--model", "m3d-test-lite", "--device", "cpu"]


@pytest.fixture
def sphere(tmp_path):
    """A coloured equirectangular photo, 160 x 80."""
    image = np.random.default_rng(2).integers(0, 255, (5, 10, 3), dtype=np.uint8)
    path = tmp_path / "sphere.png"
    cv2.imwrite(str(path), cv2.resize(image, (160, 80), interpolation=cv2.INTER_CUBIC))
    return path


def m3d(command, *arguments):
    return app.main([command, *map(str, arguments), *TEST_MODEL])


def test_the_range_of_a_sphere_is_written_and_named_as_such(sphere, tmp_path):
    out = tmp_path / "out"
    assert m3d("depth", sphere, "--projection", "equirectangular", "--format", "png,npy", "--out", out) == 0
    found = np.load(out / "sphere.npy")
    assert found.shape == (80, 160)
    assert np.isfinite(found).mean() > 0.5
    png = (out / "sphere.png").read_bytes()
    assert text_of(png, "sphere.png")[TYPE_KEY] == "range"
    np.testing.assert_allclose(read_depth_png(out / "sphere.png").depth, found, atol=5.01e-4)
    sidecar = json.loads((out / "sphere.json").read_text())
    assert sidecar["camera"]["projection"] == "equirectangular"
    assert sidecar["depth"]["type"] == "range"
    assert sidecar["views"]["count"] == 22
    assert sidecar["model"]["name"] == "m3d-test-lite"


def test_a_second_run_does_nothing_and_another_projection_is_another_run(sphere, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = (sphere, "--out", out, "--json", "-q")
    assert m3d("depth", *arguments, "--projection", "equirectangular") == 0
    assert m3d("depth", *arguments, "--projection", "equirectangular") == 0
    assert m3d("depth", *arguments) == 0
    statuses = [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()]
    assert statuses == ["done", "skipped", "done"]


def test_the_cloud_lies_all_round(sphere, tmp_path):
    out = tmp_path / "out"
    arguments = ("--projection", "equirectangular", "--keep-edges", "--out", out, "--format", "ply,npy")
    assert m3d("pointcloud", sphere, *arguments) == 0
    points = read_ply(out / "sphere.ply").points
    found = np.load(out / "sphere.npy")
    expected = (SphericalCamera.full_sphere(160, 80).directions() * found[..., None])[np.isfinite(found)]
    np.testing.assert_allclose(points, expected, rtol=1e-5)
    assert (points[:, 2] < 0).mean() > 0.2


def test_a_fisheye_goes_by_its_field_of_view(sphere, tmp_path):
    out = tmp_path / "out"
    assert m3d("depth", sphere, "--projection", "fisheye", "--fov", "200", "--format", "npy", "--out", out) == 0
    camera = json.loads((out / "sphere.json").read_text())["camera"]
    assert camera["projection"] == "fisheye"
    assert camera["fx"] == pytest.approx(160 / np.radians(200))


def test_one_range_goes_into_a_pipe(sphere, tmp_path):

    command = [sys.executable, "-m", "m3d_cli", "depth", str(sphere), "--projection", "equirectangular", "--out", "-"]
    done = subprocess.run([*command, *TEST_MODEL], capture_output=True, check=True)
    assert text_of(done.stdout, "stdout")[TYPE_KEY] == "range"


def test_a_plan_names_the_projection(sphere, tmp_path, capsys):
    arguments = (sphere, "--projection", "equirectangular", "--out", tmp_path / "out", "--dry-run")
    assert m3d("depth", *arguments) == 0
    assert capsys.readouterr().out.rstrip().endswith("equirectangular")
    assert m3d("depth", *arguments, "--json") == 0
    assert json.loads(capsys.readouterr().out)["projection"] == "equirectangular"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "conf"], "conf is not written for photos that are not flat"),
        (["--focal", "900"], "has no focal length"),
        (["--fov", "90"], "360 x 180 degrees"),
        (["--same-camera"], "photos that are not flat do not have"),
    ],
)
def test_what_makes_no_sense_on_a_sphere_is_refused(sphere, tmp_path, capsys, arguments, words):
    options = ("--projection", "equirectangular", "--out", tmp_path / "out")
    assert m3d("depth", sphere, *options, *arguments) == 2
    assert words in capsys.readouterr().err


def test_range_is_not_taken_for_depth(sphere, tmp_path, capsys):
    out = tmp_path / "out"
    assert m3d("depth", sphere, "--projection", "equirectangular", "--out", out) == 0
    assert app.main(["pointcloud", str(sphere), "--depth", str(out), "--out", str(tmp_path / "clouds")]) == 3
    assert "holds the range of a photo that is not flat (equirectangular)" in capsys.readouterr().err


@pytest.fixture
def panorama(tmp_path):
    """A JPEG whose XMP packet says that it is a panorama."""
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
        'GPano:ProjectionType="equirectangular"/></rdf:RDF></x:xmpmeta>'
    )
    path = tmp_path / "theta.jpg"
    Image.new("RGB", (160, 80), (90, 120, 60)).save(path, xmp=packet.encode())
    return path


def test_a_photo_that_names_itself_a_panorama_is_refused_with_the_way_out(panorama, tmp_path, capsys):
    assert m3d("depth", panorama, "--out", tmp_path / "out") == 3
    told = capsys.readouterr().err
    assert "theta.jpg: an equirectangular panorama" in told
    assert "--projection equirectangular" in told
    assert m3d("depth", panorama, "--out", tmp_path / "out", "--projection", "equirectangular") == 0


def test_who_gives_a_focal_length_has_the_last_word_on_a_panorama(panorama, tmp_path):
    assert m3d("depth", panorama, "--out", tmp_path / "out", "--focal", "140") == 0
