"""What all tests share: reproducible hypothesis runs, and small pictures written in any format and orientation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from PIL import Image

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
    """An upright picture, 64 x 48, of 16-pixel blocks in twelve colours: no orientation looks like another."""
    rng = np.random.default_rng(7)
    colours = rng.integers(20, 235, (3, 4, 3), dtype=np.uint8)
    return colours.repeat(16, axis=0).repeat(16, axis=1)


@pytest.fixture
def save_photo(tmp_path: Path, blocks: NDArray[np.uint8]) -> SavePhoto:
    """Write an upright picture to ``name`` under the test's folder, stored by ``orientation``."""

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
