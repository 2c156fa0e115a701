"""COLMAP's cameras, text or binary, with the images beside them, which say which camera took each photo."""

from __future__ import annotations

from pathlib import Path

from m3d_cli.bounded_files import check_entries, read_text, reading
from m3d_cli.camera import DistortionModel
from m3d_cli.errors import CalibrationError
from m3d_cli.formats.colmap import TEXT_BYTES, ColmapCamera, read_colmap_model
from m3d_cli.intrinsics.calibration.colmap_binary import read_binary_cameras, read_binary_images
from m3d_cli.intrinsics.calibration.document import pixels, real, unsupported
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


# Where a folder of a reconstruction has its model.
_MODEL_FOLDERS = (".", "sparse/0", "sparse", "0", "colmap/sparse/0")
_CAMERA_FILES = ("cameras.bin", "cameras.txt")


def colmap_cameras_file(folder: Path) -> Path:
    """The cameras of the model in a folder or in its ``sparse/0``; raises `CalibrationError` where there is none."""
    found = (folder / below / name for below in _MODEL_FOLDERS for name in _CAMERA_FILES)
    path = next((one for one in found if one.is_file()), None)
    if path is None:
        raise CalibrationError(
            f"{folder}: a folder without COLMAP's {' or '.join(_CAMERA_FILES)}, also in its sparse/0",
            hint="name the calibration file itself",
        )
    return path


def read_colmap(path: Path) -> tuple[CalibrationEntry, ...]:
    """Intrinsics of ``cameras.txt`` or ``cameras.bin`` by photo name, or of the only camera for all photos."""
    is_binary = path.suffix == ".bin"
    cameras = _binary_cameras(path) if is_binary else _read_cameras(path)
    images = path.with_name(f"images{path.suffix}")
    if images.is_file():
        with reading(images, "the list of images", CalibrationError):
            names = read_binary_images(images) if is_binary else _read_images(images)
            return tuple(_of_image(name, str(camera), cameras) for name, camera in names)
    if len(cameras) != 1:
        raise CalibrationError(
            f"{path}: {len(cameras)} cameras, and no {images.name} beside it with the camera of each photo",
            hint=f"copy {images.name} of the same model next to {path.name}",
        )
    return tuple(CalibrationEntry("", intrinsics) for intrinsics in cameras.values())


def _of_image(name: str, camera: str, cameras: dict[str, Intrinsics]) -> CalibrationEntry:
    if camera not in cameras:
        raise CalibrationError(f"photo {name} has camera {camera}, which the cameras do not list")
    return CalibrationEntry(name, cameras[camera])


def _read_cameras(path: Path) -> dict[str, Intrinsics]:
    lines = [line for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    check_entries(len(lines))
    return {parts[0]: colmap_intrinsics(path, parts) for parts in map(str.split, lines)}


def _binary_cameras(path: Path) -> dict[str, Intrinsics]:
    return {str(camera.number): _intrinsics(path, camera) for camera in read_binary_cameras(path)}


def _intrinsics(path: Path, camera: ColmapCamera) -> Intrinsics:
    numbers = map(repr, camera.parameters)
    return colmap_intrinsics(path, [str(camera.number), camera.model, str(camera.width), str(camera.height), *numbers])


def colmap_intrinsics(path: Path, parts: list[str]) -> Intrinsics:
    """One line ``CAMERA_ID MODEL WIDTH HEIGHT PARAMETERS...``."""
    name = parts[1] if len(parts) > 1 else ""
    if name not in _MODELS:
        raise unsupported(f"{path}: camera model", name, tuple(_MODELS))
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


def _read_images(path: Path) -> list[tuple[str, str]]:
    """Name and camera of each photo: two lines a photo, of which the second (its points, maybe empty) is skipped.

    The name may hold spaces.
    """
    lines = [line for line in read_text(path, TEXT_BYTES).splitlines() if not line.startswith("#")]
    rows = [line.split(maxsplit=9) for line in lines[::2]]
    return [(row[9], row[8]) for row in rows if len(row) == 10]


def read_colmap_calibration(path: Path) -> Calibration:
    """The intrinsics of every image of a model, by its name."""
    model = read_colmap_model(path)
    cameras = {camera.number: _intrinsics(path, camera) for camera in model.cameras}
    return Calibration(str(path), tuple(CalibrationEntry(image.name, cameras[image.camera]) for image in model.images))
