"""COLMAP's text model: ``cameras.txt`` with ``images.txt`` beside it, which tells the camera of each photo."""

from __future__ import annotations

from pathlib import Path

from m3d_cli.bounded_files import read_text, reading
from m3d_cli.camera import DistortionModel
from m3d_cli.errors import CalibrationError
from m3d_cli.formats.colmap import TEXT_BYTES, read_colmap_model
from m3d_cli.intrinsics.calibration.document import pixels, real
from m3d_cli.intrinsics.calibration.match import Calibration, CalibrationEntry, Intrinsics, made_distortion

# Model -> whether it has one focal length for both axes, its distortion, and how many coefficients follow cx cy.
_MODELS: dict[str, tuple[bool, DistortionModel | None, int]] = {
    "SIMPLE_PINHOLE": (True, None, 0),
    "PINHOLE": (False, None, 0),
    "SIMPLE_RADIAL": (True, DistortionModel.BROWN, 1),
    "RADIAL": (True, DistortionModel.BROWN, 2),
    "OPENCV": (False, DistortionModel.BROWN, 4),
    "FULL_OPENCV": (False, DistortionModel.BROWN, 8),
    "OPENCV_FISHEYE": (False, DistortionModel.FISHEYE, 4),
    "SIMPLE_RADIAL_FISHEYE": (True, DistortionModel.FISHEYE, 1),
    "RADIAL_FISHEYE": (True, DistortionModel.FISHEYE, 2),
}


def read_colmap(path: Path) -> tuple[CalibrationEntry, ...]:
    """Intrinsics by photo name, or of the only camera for all photos."""
    cameras = _read_cameras(path)
    images = path.with_name("images.txt")
    if images.is_file():
        with reading(images, "the list of images", CalibrationError):
            return _read_images(images, cameras)
    if len(cameras) != 1:
        raise CalibrationError(
            f"{path}: {len(cameras)} cameras, and no images.txt beside it that tells which photo is whose",
            hint="copy images.txt of the same model next to cameras.txt",
        )
    return tuple(CalibrationEntry("", intrinsics) for intrinsics in cameras.values())


def _read_cameras(path: Path) -> dict[str, Intrinsics]:
    words = [line.split() for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    return {parts[0]: colmap_intrinsics(path, parts) for parts in words}


def colmap_intrinsics(path: Path, parts: list[str]) -> Intrinsics:
    """One line ``CAMERA_ID MODEL WIDTH HEIGHT PARAMETERS...``."""
    name = parts[1] if len(parts) > 1 else ""
    if name not in _MODELS:
        raise CalibrationError(
            f"{path}: camera model {name!r} is not supported", hint=f"known are {', '.join(_MODELS)}"
        )
    single, model, count = _MODELS[name]
    numbers = [real(part) for part in parts[4:]]
    focals = 1 if single else 2
    if len(numbers) != focals + 2 + count:
        raise CalibrationError(f"{path}: {name} has {focals + 2 + count} parameters, not {len(numbers)}")
    terms = numbers[focals + 2 :]
    return Intrinsics(
        fx=numbers[0],
        fy=numbers[focals - 1],
        cx=numbers[focals],
        cy=numbers[focals + 1],
        width=pixels(parts[2]),
        height=pixels(parts[3]),
        # OpenCV takes 4 or 8 coefficients, COLMAP writes 1, 2, 4 or 8 in the same order.
        distortion=made_distortion(model, terms) if model else None,
        is_stored=True,
    )


def _read_images(path: Path, cameras: dict[str, Intrinsics]) -> tuple[CalibrationEntry, ...]:
    """Two lines a photo, the second (its points, maybe empty) is skipped; the name may hold spaces."""
    lines = [line for line in read_text(path, TEXT_BYTES).splitlines() if not line.startswith("#")]
    entries: list[CalibrationEntry] = []
    for line in lines[::2]:
        parts = line.split(maxsplit=9)
        if len(parts) < 10:
            continue
        if parts[8] not in cameras:
            raise CalibrationError(f"{path}: photo {parts[9]} has camera {parts[8]}, which cameras.txt does not list")
        entries.append(CalibrationEntry(parts[9], cameras[parts[8]]))
    return tuple(entries)


def read_colmap_calibration(path: Path) -> Calibration:
    """The intrinsics of every image of a model, by its name."""
    model = read_colmap_model(path)
    cameras = {
        camera.number: colmap_intrinsics(
            path,
            [str(camera.number), camera.model, str(camera.width), str(camera.height), *map(repr, camera.parameters)],
        )
        for camera in model.cameras
    }
    return Calibration(str(path), tuple(CalibrationEntry(image.name, cameras[image.camera]) for image in model.images))
