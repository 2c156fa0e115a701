"""Points of a distorted photo: lengths are right when corners are given in the pixels that people see."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from m3d_cli.camera import Camera, Distortion, DistortionModel, FocalSource
from m3d_cli.cli import app
from m3d_cli.metrology.geometry.lens import Lens
from m3d_cli.metrology.measurands import Kind, Measurand, Reference
from m3d_cli.metrology.picks import Pick
from m3d_cli.metrology.request import Request
from m3d_cli.models.registry import ChosenWeights
from m3d_cli.models.spec import LITE
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.photos.load import CameraSources
from m3d_cli.pipeline.measure_photo import load_measurable
from m3d_cli.pipeline.measure_run import plan_measuring
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shared_engine import SharedEngine

BARREL = Distortion(DistortionModel.BROWN, (-0.35, 0.12, 0.002, -0.003))
FISHEYE = Distortion(DistortionModel.FISHEYE, (0.05, -0.01, 0.0, 0.0))
AWAY = 2.0  # metres to the wall


def camera_with(distortion):
    return Camera(640, 480, 420, 425, 330, 231, FocalSource.CALIBRATION, 0.005, distortion)


def photographed(camera, points):
    """Pixels of points (N, 3) in metres, by OpenCV's own projection with distortion."""
    terms, points = np.array(camera.distortion.coefficients), np.asarray(points, dtype=np.float64)[:, None]
    project = cv2.fisheye.projectPoints if camera.distortion.model is DistortionModel.FISHEYE else cv2.projectPoints
    arguments = (points, np.zeros(3), np.zeros(3), camera.opencv_matrix, terms)
    return project(*arguments)[0].reshape(-1, 2) + 0.5


@pytest.mark.parametrize("distortion", [BARREL, FISHEYE])
def test_points_go_to_the_undistorted_image_and_back(distortion):
    lens = Lens.of(camera_with(distortion))
    across, down = np.meshgrid(np.linspace(-1.2, 1.2, 9), np.linspace(-0.8, 0.8, 7))
    world = np.stack([across, down, np.full_like(across, AWAY)], axis=-1).reshape(-1, 3)
    pixels = photographed(lens.camera, world)
    straight = lens.undistorted(pixels)
    np.testing.assert_allclose(straight, lens.pinhole.project(world), atol=1e-3)
    np.testing.assert_allclose(lens.distorted(straight), pixels, atol=1e-3)
    assert np.abs(straight - pixels).max() > 10


@pytest.mark.parametrize("distortion", [BARREL, FISHEYE])
def test_pixels_that_no_ray_meets_are_outside(distortion):
    lens = Lens.of(camera_with(distortion))
    far = np.array([[1e9, 3.0], [-1e6, -1e6], [0.0, 1e300], [9999.0, 1.0], [-700.0, 240.0]])
    found = lens.undistorted(far)
    assert np.isfinite(found).all()
    assert ((found < 0) | (found > [640, 480])).any(axis=1).all()


def test_a_lens_without_distortion_is_none():
    assert Lens.of(camera_with(None)) is None


def test_a_points_error_grows_where_undistortion_stretches():
    lens = Lens.of(camera_with(BARREL))

    def sigma(*pixels):
        picks = tuple(map(_pick, pixels))
        request = Request((Measurand("a", Kind.DISTANCE, picks),), (Reference("r", picks, 1.0),))
        moved = request.moved(lens.moved)
        assert moved.measurands[0].pick_sigma == moved.references[0].pick_sigma
        return moved.measurands[0].pick_sigma

    middle, corner = sigma((329, 231), (331, 232)), sigma((90, 90), (92, 92))
    assert middle == pytest.approx(lens.pinhole.focal / 422.5, rel=0.01)
    assert corner > 1.3 * middle


def _pick(place):
    return Pick(*map(float, place))


class Wall:
    """A photo of a strongly distorting lens, with exact depth of a wall that the lens looks at straight on."""

    def __init__(self, folder: Path, distortion: Distortion):
        self.camera = camera_with(distortion)
        self.photo, self.depth, self.lens = folder / "wall.png", folder / "depth", folder / "lens.json"
        noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
        Image.fromarray(noise).save(self.photo)
        matrix = {"width": 640, "height": 480, "fx": 420, "fy": 425, "cx": 330, "cy": 231}
        self.lens.write_text(json.dumps(matrix | {"distortion": distortion.coefficients}))
        command = ["depth", self.photo, "--out", self.depth, "--intrinsics", self.lens, "--format", "npy", "-q"]
        assert app.main([*map(str, command), "--model", "m3d-test-lite", "--device", "cpu"]) == 0
        np.save(self.depth / "wall.npy", np.full((480, 640), AWAY, dtype=np.float32))
        sidecar = json.loads((self.depth / "wall.json").read_text())
        sidecar["model"] |= dict.fromkeys(("scale_sigma", "object_sigma", "shape_sigma"), 0.0)
        (self.depth / "wall.json").write_text(json.dumps(sidecar))

    def pixels(self, *points):
        found = photographed(self.camera, [(*point, AWAY) for point in points])
        return " ".join(f"{u:.4f},{v:.4f}" for u, v in found)

    def measured(self, capsys, *arguments, code=0):
        command = ["measure", self.photo, "--depth", self.depth, "--intrinsics", self.lens, "--report", "json"]
        assert app.main([*map(str, command), *map(str, arguments)]) == code
        return json.loads(capsys.readouterr().out)


@pytest.fixture
def wall(tmp_path):
    return Wall(tmp_path, BARREL)


def test_a_known_length_is_right_when_its_corners_are_pixels_of_the_photo(wall, capsys):
    ends, square = (
        wall.pixels((-1.0, -0.6), (1.0, 0.5)),
        wall.pixels((-0.9, -0.5), (0.7, -0.5), (0.7, 0.5), (-0.9, 0.5)),
    )
    report = wall.measured(capsys, "--line", ends, "--area", square, "--box", wall.pixels((-0.5, -0.3), (0.6, 0.4)))
    line, area, *box = report["measurements"]
    assert line["value"] == pytest.approx(np.hypot(2.0, 1.1), abs=0.001)
    assert area["value"] == pytest.approx(1.6, abs=0.01)
    assert box[0]["value"] == pytest.approx(1.1, rel=0.04)
    given = [[round(float(number), 3) for number in word.split(",")] for word in ends.split()]
    assert line["points"] == given
    pinhole = Lens.of(wall.camera).pinhole
    straight = pinhole.project(np.array([[-1.0, -0.6, AWAY], [1.0, 0.5, AWAY]]))
    np.testing.assert_allclose(line["straight_points"], straight, atol=0.01)
    # The box's own ends are reported in the photo's pixels too.
    np.testing.assert_allclose(
        Lens.of(wall.camera).distorted(np.array(box[0]["straight_points"])), box[0]["points"], atol=0.01
    )
    assert line["warnings"] == []
    assert "points are pixels of the photo" in report["notes"][-1]
    assert report["camera"]["fx"] == pytest.approx(pinhole.fx)


def test_annotations_and_references_count_in_the_photo_too(wall, capsys, tmp_path):
    ends = [[float(number) for number in word.split(",")] for word in wall.pixels((-1, 0.6), (1, 0.6)).split()]
    shapes = [{"label": name, "points": ends, "shape_type": "line"} for name in ("a", "ref:3 m")]
    picked = {"imagePath": "wall.png", "imageWidth": 640, "imageHeight": 480, "shapes": shapes}
    (tmp_path / "picked.json").write_text(json.dumps(picked))
    report = wall.measured(capsys, "--spec", tmp_path / "picked.json")
    assert report["measurements"][0]["value"] == pytest.approx(3, rel=0.01)
    assert report["reference"]["factor"] == pytest.approx(1.5, abs=1e-3)
    assert report["reference"]["points"][0] == [[round(number, 3) for number in end] for end in ends]


def test_what_undistortion_cuts_off_is_distinguished_from_what_is_outside(wall, capsys):
    report = wall.measured(capsys, "--range", "1,240", "--range", "700,240", "--range", "100,240", code=3)
    first, second, third = report["measurements"]
    assert "1,240 lies where the undistorted image is cut off" in first["error"]["message"]
    assert "700,240 lies outside the image of 640 x 480" in second["error"]["message"]
    assert third["value"] > AWAY


def test_images_show_the_photo_whose_pixels_the_points_are(wall, tmp_path):
    camera = CameraSources.from_files(intrinsics=wall.lens)
    settings = Settings(LITE, ChosenWeights(None, ""), (), camera=camera, stored=wall.depth)
    (job,) = plan_measuring([PhotoFile(wall.photo, Path("wall.png"))], tmp_path / "out")
    photo = load_measurable(job.photo, None, settings, SharedEngine(lambda: pytest.fail("no network runs")))
    np.testing.assert_array_equal(photo.image, np.asarray(Image.open(wall.photo)))


def test_depth_of_another_lens_is_refused(wall, capsys):
    wall.lens.write_text(wall.lens.read_text().replace("-0.35", "-0.1"))
    arguments = ["measure", wall.photo, "--depth", wall.depth, "--intrinsics", wall.lens, "--line", "100,100 300,100"]
    assert app.main(list(map(str, arguments))) == 3
    assert "another lens model" in capsys.readouterr().err


def test_without_the_photo_points_are_in_the_undistorted_image(wall, capsys):
    arguments = ["measure", "--depth", wall.depth, "--line", "100,100 300,100", "--report", "json"]
    assert app.main(list(map(str, arguments))) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert "undistorted image" in report["measurements"][0]["warnings"][-1]
    assert report["measurements"][0]["straight_points"] == []
