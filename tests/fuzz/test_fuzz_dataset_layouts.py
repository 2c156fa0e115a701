"""Public data sets with one damaged file end in frames or in an error that names a file of theirs, within 5 s each.
``M3D_FUZZ=1500 pytest tests/fuzz/test_fuzz_dataset_layouts.py`` tries more of each.
"""

from __future__ import annotations

import importlib.util
import json
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from m3d_cli.datasets.check import check_frames
from m3d_cli.datasets.layouts import LAYOUTS, find_layout
from m3d_cli.errors import M3dError


def loaded(name, file):
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mutations = loaded("mutations", Path(__file__).with_name("mutations.py"))
files = loaded("layout_files", Path(__file__).parents[1] / "unit" / "datasets" / "layout_files.py")

TRIES = int(os.environ.get("M3D_FUZZ", "12"))
# Of CPU, on machines that may be several times slower than another day.
SECONDS = 5.0
VGA = (640, 480)
DATE, DRIVE = "2011_09_26", "2011_09_26_drive_0002_sync"


def rgbd(root):
    small(root / "room" / "rgb" / "0.jpg", root / "room" / "depth" / "0.png")
    frame = {"id": "0", "w": 64, "h": 48, "fx": 60, "fy": 60, "cx": 31.5, "cy": 23.5, "time": 1.5, "cluster": "a"}
    meta = {"source": "room", "split": "val", "depth_scale": 1000.0, "licence": "CC-0", "sky_value": 65535}
    files.as_json(root / "room" / "meta.json", meta | {"frames": [frame]})


def small(image, depth, scale=1000):
    files.picture(image, 64, 48)
    files.png16(depth, 3.0, scale, (64, 48))


def annotations(root):
    small(root / "data" / "nyu" / "rgb" / "0.jpg", root / "data" / "nyu" / "depth" / "0.png")
    files.npy(root / "data" / "nyu" / "normal" / "0.npy", np.ones((48, 64, 3)))
    places = {name: f"data/nyu/{name}/0.{end}" for name, end in (("rgb", "jpg"), ("depth", "png"), ("normal", "npy"))}
    files.as_json(root / "test.json", {"files": [places | {"depth_scale": 1000.0, "cam_in": [51.8, 51.9, 31.5, 23.5]}]})


def nyu(root):
    images, depths = np.full((2, 3, 8, 6), 90, np.uint8), np.full((2, 8, 6), 2.0, np.float32)
    files.hdf5(root / "nyu_depth_v2_labeled.mat", images=images, depths=depths)
    savemat(root / "splits.mat", {"trainNdxs": np.array([[1]]), "testNdxs": np.array([[2]])})


def kitti(root):
    small(root / "raw" / DATE / DRIVE / "image_02" / "data" / "0000000005.png", root / "unused.png")
    folder = root / "depth" / "val" / DRIVE / "proj_depth" / "groundtruth" / "image_02"
    files.png16(folder / "0000000005.png", 12.5, 256, (64, 48))
    matrix = "P_rect_02: 60 0 31 4 0 60 23 2 0 0 1 0"
    files.text(root / "raw" / DATE / "calib_cam_to_cam.txt", f"calib_time: 1\nS_rect_02: 64 48\n{matrix}\n")
    files.text(root / "eigen_val_files.txt", f"{DATE}/{DRIVE} 5 l\n")


def scannet(root):
    scene = root / "scene0000_00"
    small(scene / "color" / "2.jpg", scene / "depth" / "2.png")
    files.text(scene / "intrinsic" / "intrinsic_color.txt", "60 0 31 0\n0 60 23 0\n0 0 1 0\n0 0 0 1\n")
    files.text(scene / "scene0000_00.txt", "colorWidth = 64\ncolorHeight = 48\n")


def diode(root):
    image = files.picture(root / "val" / "indoors" / "scene_1" / "scan_2" / "a.png", 64, 48)
    arrays = {"depth": np.full((48, 64, 1), 4.0), "depth_mask": np.ones((48, 64)), "normal": np.ones((48, 64, 3))}
    for kind, values in arrays.items():
        files.npy(image.with_name(f"a_{kind}.npy"), values.astype(np.float32))


def ibims(root):
    files.picture(root / "rgb" / "office_01.png", *VGA)
    files.png16(root / "depth" / "office_01.png", 5.0, 65535 / 50, VGA)
    for kind in ("mask_invalid", "mask_transp"):
        files.picture(root / kind / "office_01.png", *VGA)
        files.encoded(root / kind / "office_01.png", np.full((480, 640), 255, np.uint8))
    files.text(root / "calib" / "office_01.txt", "550.5 0 319.5\n0 551.5 239.5\n0 0 1\n")


def eth3d(root):
    scene = root / "courtyard"
    files.picture(scene / "images" / "dslr_images" / "DSC_1.JPG", 60, 40)
    target = scene / "ground_truth_depth" / "dslr_images" / "DSC_1.JPG"
    target.parent.mkdir(parents=True)
    target.write_bytes(np.full((40, 60), 3.0, dtype="<f4").tobytes())
    model = scene / "dslr_calibration_jpg"
    files.text(model / "cameras.txt", "# cameras\n0 THIN_PRISM_FISHEYE 60 40 34.5 34.6 30.5 20.5 0 0 0 0 0 0 0 0\n")
    files.text(model / "images.txt", "# images\n7 1 0 0 0 0 0 0 0 dslr_images/DSC_1.JPG\n1 2 3\n")


def sevenscenes(root):
    files.picture(root / "chess" / "seq-01" / "frame-000000.color.png", *VGA)
    files.png16(root / "chess" / "seq-01" / "frame-000000.depth.png", 1.5, 1000, VGA)
    files.text(root / "chess" / "TestSplit.txt", "sequence1\n")
    files.text(root / "chess" / "TrainSplit.txt", "sequence2\n")


def nuscenes(root):
    small(root / "samples" / "CAM_FRONT" / "a.jpg", root / "depth" / "CAM_FRONT" / "a.png", 200)
    matrix = [[60.6, 0, 31.5], [0, 60.7, 23.0], [0, 0, 1]]
    name = "samples/CAM_FRONT/a.jpg"
    files.as_json(root / "v1.0-mini" / "calibrated_sensor.json", [{"token": "c", "camera_intrinsic": matrix}])
    row = {"filename": name, "calibrated_sensor_token": "c", "width": 64, "height": 48}
    files.as_json(root / "v1.0-mini" / "sample_data.json", [row])
    files.text(root / "depth" / "depth_scale.txt", "200\n")


def ddad(root):
    scene = root / "ddad_train_val" / "000150"
    files.picture(scene / "rgb" / "CAMERA_01" / "1.png", 100, 60)
    (scene / "point_cloud" / "LIDAR").mkdir(parents=True)
    np.savez_compressed(scene / "point_cloud" / "LIDAR" / "1.npz", data=np.full((9, 4), 5.0))
    pose = {"rotation": {"qw": 1.0, "qx": 0, "qy": 0, "qz": 0}, "translation": {"x": 0, "y": 0, "z": 1.0}}
    image = {"image": {"filename": "rgb/CAMERA_01/1.png", "pose": pose}}
    cloud = {"point_cloud": {"filename": "point_cloud/LIDAR/1.npz", "pose": pose}}
    data = [
        {"key": "i", "id": {"name": "CAMERA_01"}, "datum": image},
        {"key": "p", "id": {"name": "LIDAR"}, "datum": cloud},
    ]
    samples = [{"calibration_key": "k", "datum_keys": ["i", "p"]}]
    files.as_json(scene / "scene_ab.json", {"data": data, "samples": samples})
    intrinsics = [{"fx": 50.0, "fy": 50.0, "cx": 49.5, "cy": 29.5}, {"fx": 0, "fy": 0, "cx": 0, "cy": 0}]
    files.as_json(scene / "calibration" / "k.json", {"names": ["CAMERA_01", "LIDAR"], "intrinsics": intrinsics})
    splits = {"scene_splits": {"1": {"filenames": ["000150/scene_ab.json"]}}}
    files.as_json(root / "ddad_train_val" / "ddad.json", splits)


def tum(root):
    sequence = root / "rgbd_dataset_freiburg3_office"
    files.picture(sequence / "rgb" / "1.000.png", *VGA)
    files.png16(sequence / "depth" / "1.005.png", 1.2, 5000, VGA)
    files.text(sequence / "rgb.txt", "# color\n1.000 rgb/1.000.png\n9.0 rgb/lost.png\n")
    files.text(sequence / "depth.txt", "# depth\n1.005 depth/1.005.png\n")


def hypersim(root):
    folder = root / "ai_001_001" / "images"
    files.picture(folder / "scene_cam_00_final_preview" / "frame.0000.tonemap.jpg", 64, 48)
    geometry = folder / "scene_cam_00_geometry_hdf5"
    files.hdf5(geometry / "frame.0000.depth_meters.hdf5", dataset=np.full((48, 64), 4, np.float16))
    files.hdf5(geometry / "frame.0000.normal_cam.hdf5", dataset=np.ones((48, 64, 3), np.float32))


def vkitti(root):
    folder = root / "Scene01" / "clone"
    small(folder / "frames" / "rgb" / "Camera_0" / "rgb_00001.jpg", root / "unused.png")
    files.png16(folder / "frames" / "depth" / "Camera_0" / "depth_00001.png", 12.0, 100, (64, 48))
    title = "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n"
    files.text(folder / "intrinsic.txt", f"{title}1 0 725.0087 725.0087 620.5 187\n")


TREES = {
    **{make.__name__: make for make in (rgbd, annotations, nyu, kitti, scannet, diode, ibims, eth3d, nuscenes, ddad)},
    **{make.__name__: make for make in (tum, hypersim, vkitti)},
    "7scenes": sevenscenes,
}


def gone_through(layout, root):
    """Find the frames of a data set, read them, and check them; how many there are."""
    frames = find_layout(layout).find(root)
    for frame in frames:
        # Lists can name files anywhere.
        assert any(str(path) in refusal(frame.read, root) for path in (root, frame.image, frame.depth))
    list(check_frames(frames))
    return len(frames)


def refusal(read, root):
    """What one of m3d's errors says; the folder where there is none."""
    try:
        read()
    except M3dError as error:
        return error.message
    return str(root)


def damaged(file, sound, rng):
    """Other bytes for a file: of text and JSON also other words and values."""
    if file.suffix == ".json" and rng.random() < 0.7:
        return json.dumps(mutations.revalued(json.loads(sound), rng)).encode("utf-8", "surrogatepass")
    if file.suffix in (".json", ".txt") and rng.random() < 0.7:
        return mutations.reworded(sound.decode(), rng).encode("utf-8", "surrogatepass")
    return mutations.mutated(sound, rng, 0, None if rng.random() < 0.5 else 200)


def test_every_layout_has_a_tree():
    assert TREES.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("layout", TREES)
def test_a_damaged_file_of_a_data_set(tmp_path, layout):
    root = tmp_path / "data"
    root.mkdir()
    TREES[layout](root)
    assert gone_through(layout, root) > 0
    listed = sorted(path for path in root.rglob("*") if path.is_file())
    # Lists and calibrations have readers of their own, images share one.
    weights = [1 if path.suffix.lower() in (".png", ".jpg") else 4 for path in listed]
    rng = mutations.seeded(layout)
    for _ in range(TRIES):
        [file] = rng.choices(listed, weights)
        sound = file.read_bytes()
        file.write_bytes(damaged(file, sound, rng))
        begin = time.process_time()
        assert str(root) in refusal(partial(gone_through, layout, root), root)
        assert time.process_time() - begin < SECONDS
        file.write_bytes(sound)
