"""Depth that ``m3d depth`` wrote, read back with its camera and what is known of the network: no network runs.

The sidecar JSON leads: it says which camera the depth belongs to and which files hold it. Exact formats come before
the rounded PNG.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from m3d_cli.camera import Camera
from m3d_cli.depthmap import LARGEST_STEP, DepthMap
from m3d_cli.errors import M3dError, OutputError
from m3d_cli.formats.depth_png import read_depth_png
from m3d_cli.formats.npy import read_npy, read_npz
from m3d_cli.formats.png16 import decode_png16
from m3d_cli.formats.sidecar import ERROR_FIELDS, OLD_TRUST, CameraRecord, ModelRecord, Sidecar, recorded_camera

SIDECAR_SUFFIX = ".json"
# Formats that can be read back, best first.
DEPTH_SUFFIXES = (".npz", ".npy", ".png")
CONFIDENCE_SUFFIX = ".conf.png"
# Metres that a photo can show; other numbers are damage.
NEAREST, FARTHEST = 1e-4, 1e6
# Focal lengths lie between the image's long side divided and multiplied by this, principal points within so many.
LONGEST_LENS, MOST_SHIFT = 1e4, 100.0
MOST_SIDE = 1_000_000  # pixels
# A sidecar is a few kilobytes.
MOST_SIDECAR_BYTES = 4_000_000

_HOW = "depth is written by m3d depth PHOTOS --out DIR --format npz"


@dataclass(frozen=True, slots=True, eq=False)
class StoredDepth:
    """A depth map with its sidecar: ``file`` holds the depth, ``photo`` is the photo's relative name.

    ``cell`` is how many pixels of the depth one pixel of the network covers.
    """

    depth: DepthMap
    sidecar: Sidecar
    file: Path
    sidecar_file: Path
    cell: float

    @property
    def photo(self) -> str:
        """The photo's name in its input tree."""
        return self.sidecar.photo

    @property
    def camera(self) -> Camera:
        """The camera, and why it is this one."""
        return self.depth.camera

    @property
    def model(self) -> ModelRecord:
        """The network, its weights, and how its errors behave."""
        return self.sidecar.model


def load_depth(path: Path) -> StoredDepth:
    """The depth of a depth file, of a sidecar, or of a folder that holds one; raises OutputError naming the file."""
    sidecar_file = _sidecar_of(path)
    sidecar = read_sidecar(sidecar_file)
    file, scale = _depth_file(path, sidecar_file, sidecar)
    camera = _camera(sidecar_file, sidecar.camera)
    depth, confidence, normals = _arrays(file, camera, scale)
    if confidence is None:
        confidence = _confidence(sidecar_file, camera)
    whole = DepthMap(_metres(depth), camera, confidence, normals)
    return StoredDepth(whole, sidecar, file, sidecar_file, _cell(sidecar_file, sidecar))


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar in a file; raises OutputError where it is none."""
    try:
        if path.stat().st_size > MOST_SIDECAR_BYTES:
            _refuse(path, "too large for a sidecar of m3d depth")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})", hint=_HOW) from error
    except (ValueError, RecursionError) as error:
        raise OutputError(f"{path}: not JSON", hint=_HOW) from error
    if not isinstance(content, dict) or not {"photo", "camera", "model"} <= content.keys():
        _refuse(path, "not a sidecar of m3d depth")
    if isinstance(content["camera"], dict) and "projection" in content["camera"]:
        _refuse(path, f"holds the range of a photo that is not flat ({content['camera']['projection']}), not depth")
    try:
        content = {**content, "camera": _with_trust(content["camera"]), "model": _with_errors(content["model"])}
        return _adapter().validate_python(content)
    except (ValidationError, RecursionError) as error:
        place = ".".join(map(str, error.errors()[0]["loc"])) if isinstance(error, ValidationError) else "its nesting"
        raise OutputError(f"{path}: not a sidecar of m3d depth: {place} is missing or wrong", hint=_HOW) from error


def stored_sidecars(folder: Path) -> Iterator[Path]:
    """Files below ``folder`` that look like sidecars with depth beside them, in order of their names."""
    for path in sorted(folder.rglob(f"*{SIDECAR_SUFFIX}")):
        if any(_beside(path, suffix).is_file() for suffix in DEPTH_SUFFIXES):
            yield path


def find_sidecar(folder: Path, relative: PurePath) -> Path:
    """The sidecar in ``folder`` of the photo with this relative name; raises OutputError where there is none.

    A photo given by itself, without its folder, is looked for by its name; one with a folder only there: trees of
    cameras repeat their names.
    """
    stem = relative.with_name(relative.stem)
    mirrored = [folder / f"{name}{SIDECAR_SUFFIX}" for name in (relative, stem)]
    for path in mirrored:
        if path.is_file() and PurePath(read_sidecar(path).photo).name == relative.name:
            return path
    is_alone = len(relative.parts) == 1
    found = [path for path in stored_sidecars(folder) if _tells_photo(path) == relative.name] if is_alone else []
    if len(found) == 1:
        return found[0]
    why = "no depth" if not found else f"{len(found)} depth maps"
    raise OutputError(
        f"{folder}: {why} of {relative}", hint="run m3d depth on the same photos first, or leave --depth out"
    )


def stored_source(path: Path, relative: PurePath, stored: Path) -> Path:
    """The depth file or sidecar that belongs to the input ``path``: a photo, or itself a depth file or sidecar of
    ``stored``; raises OutputError where there is none.
    """
    if not stored.is_dir():
        return stored
    return path if path.suffix == SIDECAR_SUFFIX else find_sidecar(stored, relative)


def depth_files(path: Path) -> tuple[Path, ...]:
    """The files that `load_depth` reads for ``path``: sidecar, depth, and confidence where there is one."""
    sidecar = _sidecar_of(path)
    beside = (_beside(sidecar, suffix) for suffix in (*DEPTH_SUFFIXES, CONFIDENCE_SUFFIX))
    return (sidecar, *(file for file in beside if file.is_file()))


def _tells_photo(path: Path) -> str | None:
    try:
        return PurePath(read_sidecar(path).photo).name
    except OutputError:
        return None


def _sidecar_of(path: Path) -> Path:
    if path.is_dir():
        found = list(stored_sidecars(path))
        if len(found) != 1:
            _refuse(path, f"a folder with {len(found)} depth maps, not one")
        return found[0]
    if path.suffix == SIDECAR_SUFFIX:
        return path
    if not path.is_file():
        _refuse(path, "there is no such file")
    if path.suffix not in DEPTH_SUFFIXES:
        _refuse(path, "depth is read from npz, npy and PNG")
    sidecar = path.with_name(path.name[: -len(path.suffix)] + SIDECAR_SUFFIX)
    if not sidecar.is_file():
        raise OutputError(
            f"{path}: no {sidecar.name} beside it, so its camera is unknown",
            hint="keep the sidecar that m3d depth wrote beside the depth",
        )
    return sidecar


def _depth_file(path: Path, sidecar_file: Path, sidecar: Sidecar) -> tuple[Path, float | None]:
    """The file to read and, for a PNG, the scale that the sidecar tells."""
    png_scale = next((one.scale for one in sidecar.outputs if one.format == "png"), None)
    asked = (path,) if path.suffix in DEPTH_SUFFIXES and path.is_file() else ()
    for file in (*asked, *(_beside(sidecar_file, suffix) for suffix in DEPTH_SUFFIXES)):
        if file.is_file():
            return file, png_scale if file.suffix == ".png" else None
    raise OutputError(f"{sidecar_file}: no depth as npz, npy or PNG beside it", hint=_HOW)


def _beside(sidecar: Path, suffix: str) -> Path:
    # Path.with_suffix would take ".5" off "shot_1.5".
    return sidecar.with_name(sidecar.name[: -len(SIDECAR_SUFFIX)] + suffix)


Array = NDArray[np.float32]


def _arrays(file: Path, camera: Camera, scale: float | None) -> tuple[Array, Array | None, Array | None]:
    """Depth and, where the file holds them, confidence and normals, all of the camera's size."""
    size = (camera.height, camera.width)
    if file.suffix == ".npy":
        return read_npy(file, size), None, None
    if file.suffix == ".npz":
        shapes = {"depth": size, "confidence": size, "normals": (*size, 3)}
        found = read_npz(file, shapes)
        if "depth" not in found:
            _refuse(file, "no depth in it")
        return found["depth"], found.get("confidence"), found.get("normals")
    depth = read_depth_png(file, scale).depth
    if depth.shape != size:
        _refuse(file, f"{depth.shape[1]} x {depth.shape[0]} pixels, its sidecar says {size[1]} x {size[0]}")
    return depth, None, None


def _confidence(sidecar_file: Path, camera: Camera) -> Array | None:
    """The confidence PNG beside the depth, where there is one."""
    file = _beside(sidecar_file, CONFIDENCE_SUFFIX)
    if not file.is_file():
        return None
    try:
        values = decode_png16(file.read_bytes(), str(file))
    except OSError as error:
        raise OutputError(f"{file}: cannot be read ({error.strerror})") from error
    if values.shape != (camera.height, camera.width):
        _refuse(file, "not of the depth's size")
    return np.asarray(values, dtype=np.float32) / np.float32(LARGEST_STEP)


def _metres(depth: Array) -> Array:
    """Unknown where a value is no depth."""
    with np.errstate(invalid="ignore"):
        is_depth = (depth >= NEAREST) & (depth <= FARTHEST)
    return np.asarray(np.where(is_depth, depth, np.float32(np.nan)), dtype=np.float32)


def _camera(path: Path, record: CameraRecord) -> Camera:
    try:
        camera = recorded_camera(record)
    except (ValueError, M3dError) as error:
        raise OutputError(f"{path}: its camera is impossible ({error})", hint=_HOW) from error
    size = max(camera.width, camera.height)
    if size > MOST_SIDE:
        _refuse(path, "an image of that size is impossible")
    far_off = max(abs(camera.cx), abs(camera.cy)) > MOST_SHIFT * size
    if (
        far_off
        or not size / LONGEST_LENS < min(camera.fx, camera.fy) <= max(camera.fx, camera.fy) < size * LONGEST_LENS
    ):
        _refuse(path, "its camera is of no lens that there is")
    if not 0 <= record.focal_rel_sigma < 1:
        _refuse(path, f"a focal sigma of {record.focal_rel_sigma} is impossible")
    return camera


def _cell(path: Path, sidecar: Sidecar) -> float:
    """From the canonical transform's own factor, depth_scale = f s / f_c: the photo was resized by s."""
    camera, model = sidecar.camera, sidecar.model
    scale = model.depth_scale * model.canonical_focal_px / max(camera.fx, camera.fy)
    errors = model.errors
    sigmas = (errors.scale_sigma, errors.object_sigma, errors.shape_sigma, errors.shape_reach, errors.relief_sigma)
    if not (math.isfinite(scale) and scale > 0 and all(math.isfinite(n) and n >= 0 for n in sigmas)):
        _refuse(path, "what it says of the model is impossible")
    if errors.shape_reach == 0:
        _refuse(path, "a shape_reach of 0 is impossible")
    if not all(0 <= confidence <= 1 and 0 < error < math.inf for confidence, error in errors.confidence_errors):
        _refuse(path, "its errors by confidence are impossible")
    return 1 / scale


def _with_trust(camera: object) -> object:
    """Sidecars of an older m3d have the word under its old name alone."""
    if not isinstance(camera, Mapping) or OLD_TRUST not in camera:
        return camera
    return {"focal_trust": camera[OLD_TRUST], **camera}


def _with_errors(model: object) -> object:
    """The error model as one value; sidecars of an older m3d without errors and backend get the usual ones."""
    if not isinstance(model, Mapping):
        return model
    errors = {name: model[name] for name in ERROR_FIELDS if name in model}
    others = {name: value for name, value in model.items() if name not in ERROR_FIELDS}
    return {"backend": "torch", **others, "errors": errors}


@cache
def _adapter() -> TypeAdapter[Sidecar]:
    return TypeAdapter(Sidecar)


def _refuse(path: Path, why: str) -> NoReturn:
    raise OutputError(f"{path}: {why}", hint=_HOW)
