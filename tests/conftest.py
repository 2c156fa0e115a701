"""What all tests share: reproducible hypothesis runs, and small images written in any format and orientation."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from PIL import Image

from m3d_cli.camera import Camera
from m3d_cli.formats.trajectory_tables import encode_tum
from m3d_cli.trajectory import Trajectory, matrices

# Two test processes share the cores, and the networks are tiny: more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A suite that runs in the background of a shell has SIGINT ignored, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "m3d",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("m3d")


@pytest.fixture(autouse=True)
def _no_weights_and_no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is installed on this machine does not count, and no test reaches a real hub."""
    monkeypatch.setenv("M3D_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


SavePhoto = Callable[..., Path]

EXIF_IFD = 0x8769
# How pixels must be stored so that the orientation brings them upright again.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def make_exif(
    orientation: int = 1, tags: Mapping[int, Any] | None = None, base: Mapping[int, Any] | None = None
) -> bytes:
    """EXIF block with ``tags`` in the EXIF directory and ``base`` in the main one."""
    exif = Image.Exif()
    for tag, value in (base or {}).items():
        exif[tag] = value
    if orientation != 1:
        exif[0x0112] = orientation
    ifd = exif.get_ifd(EXIF_IFD)
    for tag, value in (tags or {}).items():
        ifd[tag] = value
    return exif.tobytes()


@pytest.fixture
def blocks() -> NDArray[np.uint8]:
    """An upright image, 64 x 48, of 16-pixel blocks in twelve colours: no orientation looks like another."""
    rng = np.random.default_rng(7)
    colours = rng.integers(20, 235, (3, 4, 3), dtype=np.uint8)
    return colours.repeat(16, axis=0).repeat(16, axis=1)


@pytest.fixture
def save_photo(tmp_path: Path, blocks: NDArray[np.uint8]) -> SavePhoto:
    """Write an upright image to ``name`` under the test's folder, stored by ``orientation``."""

    def save(
        name: str,
        *,
        image: NDArray[np.uint8] | Image.Image | None = None,
        orientation: int = 1,
        tags: Mapping[int, Any] | None = None,
        base: Mapping[int, Any] | None = None,
        **options: Any,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = image if isinstance(image, Image.Image) else Image.fromarray(blocks if image is None else image)
        turn = STORED[orientation]
        picture = picture if turn is None else picture.transpose(turn)
        if path.suffix.lower() in (".jpg", ".heic"):
            options = {"quality": 98, **options}
        if path.suffix.lower() == ".jpg" and picture.mode == "RGB":
            options = {"subsampling": 0, **options}
        if path.suffix.lower() == ".webp":
            options = {"lossless": True, **options}
        if path.suffix.lower() == ".heic":
            import pillow_heif

            pillow_heif.register_heif_opener()
        if orientation != 1 or tags or base:
            options = {"exif": make_exif(orientation, tags, base), **options}
        picture.save(path, **options)
        return path

    return save


PHOTOS = Path(__file__).parent / "data" / "photos"


@pytest.fixture(scope="session")
def measured_depth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the depth of three sample photos, the last of which has an assumed focal length."""
    from m3d_cli.cli import app

    out = tmp_path_factory.mktemp("depth")
    names = [str(PHOTOS / name) for name in ("palace.jpg", "flower.jpg", "portrait.png")]
    command = ["depth", *names, "--out", str(out), "--format", "npy", "-q", "--model", "m3d-test-lite"]
    assert app.main([*command, "--device", "cpu"]) == 0
    return out


class BoxRoom:
    """A room of 6 x 3 x 5 metres with two boxes in it, painted with smooth patterns; y points down, like a camera's."""

    walls = (np.array([-3.0, -1.5, -2.5]), np.array([3.0, 1.5, 2.5]))
    boxes = (
        (np.array([-1.4, 0.3, 0.6]), np.array([-0.4, 1.5, 1.6])),
        (np.array([0.7, -0.4, 1.1]), np.array([1.5, 1.5, 1.9])),
    )

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self._waves = (rng.normal(size=(10, 3)) * rng.uniform(2, 14, (10, 1))).astype(np.float32)
        self._phases = rng.uniform(0, 6.28, (10, 3)).astype(np.float32)

    def look(self, camera: Camera, pose: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Image and exact depth from ``pose`` (world_from_camera)."""
        depth = self.depth(camera, pose)
        points = (camera.rays() * depth[..., None]).reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3]
        return self._paint(points).reshape(*depth.shape, 3), depth

    def depth(self, camera: Camera, pose: NDArray[np.float64]) -> NDArray[np.float32]:
        """Exact depth alone."""
        rays = camera.rays().reshape(-1, 3).astype(np.float64) @ pose[:3, :3].T
        start = pose[:3, 3]
        inverse = 1 / np.where(np.abs(rays) < 1e-9, 1e-9, rays)
        low, high = (self.walls[0] - start) * inverse, (self.walls[1] - start) * inverse
        depth = np.maximum(low, high).min(axis=1)
        for box in self.boxes:
            low, high = (box[0] - start) * inverse, (box[1] - start) * inverse
            enter, leave = np.minimum(low, high).max(axis=1), np.maximum(low, high).min(axis=1)
            hit = (enter < leave) & (enter > 0)
            depth = np.where(hit, np.minimum(depth, enter), depth)
        return depth.reshape(camera.height, camera.width).astype(np.float32)

    def _paint(self, points: NDArray[np.float64]) -> NDArray[np.uint8]:
        waves = np.sin((points.astype(np.float32) @ self._waves.T)[..., None] + self._phases).sum(axis=1)
        return np.clip(128 + 30 * waves, 0, 255).astype(np.uint8)

    def walk(self, count: int, length: float = 5.0) -> Trajectory:
        """A way of about ``length`` metres round the middle of the room, looking ahead and slowly turning."""
        turn = np.linspace(0, 1, count) * length / 0.8
        positions = np.stack([0.8 * np.sin(turn), 0.1 * np.sin(2 * turn), 0.8 * np.cos(turn) - 0.9], axis=1)
        yaw = 0.5 * np.sin(turn / 2)
        quaternion = np.stack([0.03 * np.sin(turn), np.sin(yaw / 2), 0 * yaw, np.cos(yaw / 2)], axis=1)
        quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
        return Trajectory(np.arange(count) / 30, matrices(positions, quaternion))


@pytest.fixture(scope="session")
def room() -> BoxRoom:
    """A room to look at from anywhere, with exact depth."""
    return BoxRoom()


@pytest.fixture
def save_walk(room: BoxRoom, tmp_path: Path) -> Callable[..., tuple[Path, Trajectory]]:
    """Write a walk through the room: ``photos/*.png``, ``depth/*.png`` (mm), ``camera.json``, ``poses.txt`` (TUM)."""

    def save(count: int, *, length: float = 5.0, depth_factor: float = 1.0) -> tuple[Path, Trajectory]:
        camera, trajectory = Camera.centred(160, 120, 130), room.walk(count, length)
        for folder in ("photos", "depth"):
            (tmp_path / folder).mkdir()
        for index, pose in enumerate(trajectory.poses):
            image, depth = room.look(camera, pose)
            Image.fromarray(image).save(tmp_path / "photos" / f"{index:04d}.png")
            millimetres = np.rint(depth_factor * depth * 1000).astype(np.uint16)
            Image.fromarray(millimetres).save(tmp_path / "depth" / f"{index:04d}.png")
        intrinsics = {"fx": 130, "fy": 130, "cx": 80, "cy": 60, "width": 160, "height": 120}
        (tmp_path / "camera.json").write_text(json.dumps(intrinsics))
        (tmp_path / "poses.txt").write_bytes(encode_tum(trajectory))
        return tmp_path, trajectory

    return save
