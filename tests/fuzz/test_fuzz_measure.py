"""Damaged depth, sidecars, clouds, measurement files and annotations end in a result or in an error that says what is
wrong; never in a traceback.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import io
import json
import shutil
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from m3d_cli.cli import app
from m3d_cli.errors import M3dError, OutputError, UsageError
from m3d_cli.formats.depth_folder import find_sidecar, load_depth
from m3d_cli.formats.ply import encode_ply, read_ply
from m3d_cli.metrology.report.content import decode_report, photo_report
from m3d_cli.metrology.report.drawing import annotated
from m3d_cli.metrology.report.html import Illustrated
from m3d_cli.metrology.solve import solve
from m3d_cli.metrology.spec.flags import request_of_flags
from m3d_cli.metrology.spec.read import read_sheet
from m3d_cli.pipeline.clouds import CLOUD_FORMATS, CloudMaker, CloudStyle
from m3d_cli.pipeline.measure_reports import encode_reports
from m3d_cli.pipeline.plan import OutputFormat
from m3d_cli.pointcloud import PointCloud

_spec = importlib.util.spec_from_file_location("mutations", Path(__file__).with_name("mutations.py"))
mutations = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mutations)

PHOTO = "a.jpg"
WIDTH, HEIGHT = 96, 64
# Done, impossible request, some failed, nothing usable, no focal length: all but the unexpected.
EXPECTED = {0, 2, 3, 4, 7}
FLAGS = ["--line", "20,20 60,40", "--area", "10,40 80,40 80,60 10,60", "--box", "5,5 60,60", "--ground", "auto"]
CLOUD = ["--format", "ply,pcd,xyz,glb", "--preview", "--normals", "--stride", "3"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A photo and its depth in every format that is read back."""
    folder = tmp_path_factory.mktemp("sound")
    rng = np.random.default_rng(3)
    colours = rng.integers(0, 255, (8, 12, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(colours).save(folder / PHOTO)
    command = ["depth", folder / PHOTO, "--out", folder / "d", "--format", "png,npy,npz,conf", "--focal", "90", "-q"]
    assert app.main([*map(str, command), "--model", "m3d-test-lite", "--device", "cpu"]) == 0
    return folder


@pytest.fixture
def run(capsys):
    """Run a command; its exit code, which must be one that the README lists, and an error where it is not 0."""

    def ran(*arguments):
        code = app.main([*map(str, arguments), "-q"])
        output = capsys.readouterr()
        assert code in EXPECTED, output.err
        assert "UNEXPECTED" not in output.err
        assert "Traceback" not in output.err
        assert code == 0 or "error: " in output.err
        return code

    return ran


def measured(stored, request, number):
    """The report of ``request`` in every form, all of which can be written; one in twenty as a picture too."""
    errors = dataclasses.replace(stored.model.errors, cell=stored.cell)
    report = photo_report(PHOTO, solve(stored.depth, request, errors, PHOTO))
    for kind in ("json", "csv", "md", "html"):
        text = "".join(encode_reports(kind, [report], lambda: [Illustrated(report)], is_list=False))
        text.encode()
        assert kind != "json" or decode_report(text, "r") == report
    if number % 20 == 0:
        annotated(np.zeros((8, 12, 3), np.uint8), (stored.camera.width, stored.camera.height), report)


def gone_through(run, folder, number):
    """Measure on the depth in ``folder`` and make clouds of it; whether it was fit for that. One in ten by command."""
    photo, depth = folder / PHOTO, folder / "d"
    if number % 20 == 0:
        return run("measure", photo, "--depth", depth, *FLAGS, "--report", "html") == 0
    if number % 20 == 10:
        return run("pointcloud", photo, "--depth", depth, *CLOUD, "--out", folder / "out", "--overwrite") == 0
    try:
        stored = load_depth(find_sidecar(depth, PurePosixPath(PHOTO)))
        flags = zip(FLAGS[::2], FLAGS[1::2], strict=True)
        measured(stored, request_of_flags([(f[2:], t) for f, t in flags], [], "m", allow_assumed_focal=True), number)
        maker = CloudMaker(stored.depth, None, CloudStyle(normals=True, stride=3), stored.cell, {"photo": stored.photo})
        for kind in CLOUD_FORMATS:
            if kind is not OutputFormat.CLOUD_PREVIEW:
                maker.encode(kind)
    except M3dError:
        return False
    return True


@pytest.mark.parametrize("kept", ["png", "npy", "npz", "conf.png"])
def test_damaged_depth_is_measured_or_refused(sound, tmp_path, run, kept):
    shutil.copytree(sound, tmp_path / "s")
    folder, rng, fit = tmp_path / "s", mutations.seeded(kept), []
    others = {"conf.png"} if kept != "conf.png" else {"png", "npz"}
    for name in {"png", "npy", "npz", *others} - {kept} - ({"npy"} if kept == "conf.png" else set()):
        (folder / "d" / f"a.{name}").unlink()
    victim = folder / "d" / f"a.{kept}"
    data = victim.read_bytes()
    for number in range(60):
        victim.write_bytes(mutations.mutated(data, rng, *((0, 128) if number % 3 == 0 else ())))
        fit.append(gone_through(run, folder, number))
    assert fit.count(False) > 3


def test_damaged_sidecars_are_read_or_refused(sound, tmp_path, run):
    shutil.copytree(sound, tmp_path / "s")
    folder, rng, fit = tmp_path / "s", mutations.seeded(1), []
    sidecar = folder / "d" / "a.json"
    text = sidecar.read_text()
    content = json.loads(text)
    for number in range(160):
        damaged = json.dumps(mutations.revalued(content, rng)) if number % 4 else mutations.reworded(text, rng)
        sidecar.write_text(damaged, errors="surrogatepass")
        fit.append(gone_through(run, folder, number))
    assert fit.count(False) > 20
    assert fit.count(True) > 20


def test_damaged_clouds_are_read_or_refused(tmp_path):
    rng, numbers = mutations.seeded(2), np.random.default_rng(2)
    cloud = PointCloud(
        numbers.normal(size=(20, 3)).astype(np.float32),
        numbers.integers(0, 255, (20, 3), dtype=np.uint8),
        numbers.normal(size=(20, 3)).astype(np.float32),
        numbers.random(20).astype(np.float32),
    )
    data = b"".join(encode_ply(cloud, ["made for damage"]))
    header = data.index(b"end_header") + 11
    refused, path = 0, tmp_path / "damaged.ply"
    for number in range(1500):
        damaged = mutations.mutated(data, rng, 0, header if number % 2 else None)
        if number % 5 == 0:
            damaged = mutations.reworded(data[:header].decode(), rng).encode("utf-8", "surrogatepass") + data[header:]
        path.write_bytes(damaged)
        try:
            found = read_ply(path)
        except OutputError:
            refused += 1
            continue
        assert found.points.shape == (len(found), 3)
    assert 300 < refused < 1400


TOML = """
unit = "cm"
allow_assumed_focal = true
[[photo]]
match = "a*"
size = [192, 128]
[[photo.measure]]
name = "door"
points = [[20, 20], [60.5, 40]]
pick_sigma = 2
[[photo.measure]]
name = "wall"
kind = "plane"
points = "10,10 90,10 90,60:near"
unit = "ft"
[[photo.measure]]
name = "edge"
points = "20,20 60,40"
on = "wall"
[[photo.measure]]
name = "room"
kind = "plane-distance"
points = [[10, 10], [90, 10], [90, 60]]
second = [[20, 10], [90, 10], [90, 60]]
[[photo.reference]]
object = "a4"
points = [[20, 20], [60, 40]]
tolerance = 0.1
[[photo.reference]]
name = "rod"
length = "11 in"
points = [[20, 25], [60, 45]]
"""
TABLE = """photo,name,kind,points,second,on,unit,length,tolerance
a.jpg,door,distance,"20,20 60,40",,,cm,,
a.jpg,roof,area,"10,40 80,40 80,60 10,60",,,,,
a.jpg,room,plane-distance,"10,10 90,10 90,60","20,10 90,10 90,60",,in,,
a.jpg,rod,reference,"20,25 60,45",,,,11 in,0.1
"""
LABELME = {
    "version": "5.4.1",
    "flags": {},
    "imagePath": "..\\photos\\a.jpg",
    "imageData": None,
    "imageHeight": 64,
    "imageWidth": 96,
    "shapes": [
        {"label": "door", "points": [[20, 20], [60, 40]], "shape_type": "line", "group_id": None, "flags": {}},
        {"label": "roof", "points": [[10, 40], [80, 40], [80, 60]], "shape_type": "polygon"},
        {"label": "height:tree", "points": [[20, 20], [20, 40]], "shape_type": "line"},
        {"label": "plate", "points": [[20, 20], [20, 40]], "shape_type": "circle"},
        {"label": "ref: 30 cm", "points": [[20, 25], [60, 45]], "shape_type": "line"},
        {"label": "box", "points": [[20, 25], [60, 45]], "shape_type": "rectangle"},
    ],
}
COCO = {
    "images": [{"id": 1, "file_name": "sub/a.jpg", "width": 96, "height": 64}],
    "categories": [
        {"id": 1, "name": "person", "keypoints": ["head", "foot"], "skeleton": [[1, 2]]},
        {"id": 2, "name": "area:sign"},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [20, 20, 2, 20, 50, 2], "bbox": [1, 2, 30, 40]},
        {"id": 2, "image_id": 1, "category_id": 2, "segmentation": [[10, 40, 80, 40, 80, 60]]},
        {"id": 3, "image_id": 1, "category_id": 2, "segmentation": {"counts": "abc", "size": [64, 96]}},
        {"id": 4, "image_id": 1, "category_id": 2, "bbox": [10, 20, 30, 40]},
    ],
}
_REGIONS = [
    {"name": "polyline", "all_points_x": [20, 60], "all_points_y": [20, 40]},
    {"name": "polygon", "all_points_x": [10, 80, 80], "all_points_y": [40, 40, 60]},
    {"name": "rect", "x": 10, "y": 20, "width": 30, "height": 40},
    {"name": "point", "cx": 20, "cy": 20},
    {"name": "ellipse", "cx": 20, "cy": 20, "rx": 2, "ry": 3},
]
VIA = {
    "_via_settings": {},
    "_via_img_metadata": {
        "a.jpg123": {
            "filename": "a.jpg",
            "size": 123,
            "regions": [{"shape_attributes": one, "region_attributes": {"label": one["name"]}} for one in _REGIONS],
        }
    },
}


def via_table(content):
    """VIA's CSV of the regions of its JSON, whatever they are."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["filename", "region_count", "region_shape_attributes", "region_attributes"])
    rows.writerows(["a.jpg", 5, json.dumps(one), json.dumps({"label": "x"})] for one in content)
    return text.getvalue()


def damaged_text(text):
    return lambda rng: mutations.reworded(text, rng)


def damaged_json(content):
    return lambda rng: json.dumps(mutations.revalued(content, rng))


def damaged_via_table(rng):
    content = mutations.revalued(_REGIONS, rng)
    return via_table(content if isinstance(content, list) else [content])


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("s.toml", damaged_text(TOML)),
        ("s.csv", damaged_text(TABLE)),
        ("labelme.json", damaged_json(LABELME)),
        ("labelme.json", damaged_text(json.dumps(LABELME))),
        ("coco.json", damaged_json(COCO)),
        ("via.json", damaged_json(VIA)),
        ("via.csv", damaged_via_table),
        ("via.csv", damaged_text(via_table(_REGIONS))),
    ],
)
def test_damaged_measurement_files_and_annotations_are_measured_or_refused(sound, tmp_path, run, name, damaged):
    rng, ends = mutations.seeded(name), set()
    stored, spec = load_depth(sound / "d" / "a.npy"), tmp_path / name
    for number in range(120):
        spec.write_text(damaged(rng), encoding="utf-8", errors="surrogatepass")
        if number % 20 == 10:
            run("measure", sound / PHOTO, "--depth", sound / "d", "--spec", spec, "--report", "json")
        ends.add(listed(stored, spec, number))
    assert ends == {True, False}


def test_measurement_files_of_any_bytes_are_refused(sound, tmp_path):
    rng, stored = mutations.seeded(4), load_depth(sound / "d" / "a.npy")
    for number, (name, text) in enumerate([("s.toml", TOML), ("s.csv", TABLE), ("c.json", json.dumps(COCO))] * 60):
        spec = tmp_path / name
        spec.write_bytes(rng.randbytes(300) if number % 5 == 0 else mutations.mutated(text.encode(), rng))
        listed(stored, spec, number)


def listed(stored, spec, number):
    """Measure what a file lists for the photo; whether it lists anything."""
    request, refusal = None, f"{spec}: "
    try:
        request = read_sheet(spec).request_for(PurePosixPath(PHOTO))
    except UsageError as error:
        refusal = error.message
    # Two of one name in different parts of a file are told under the photo's name.
    assert refusal.startswith((f"{spec}: ", f"{PHOTO}: "))
    if request is not None:
        measured(stored, request, number)
    return request is not None
