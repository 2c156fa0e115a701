"""How the photos of a run are processed, and the digest by which a later run knows that nothing would change."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path

from m3d_cli.camera import Camera
from m3d_cli.errors import UsageError
from m3d_cli.extras import install_hint
from m3d_cli.formats.depth_png import MILLIMETRES
from m3d_cli.formats.float_images import can_write_exr
from m3d_cli.formats.previews import PreviewStyle
from m3d_cli.inference.photo import Wanted
from m3d_cli.intrinsics.ladder import UserFocal
from m3d_cli.models.onnx_file import check_backend
from m3d_cli.models.registry import BUNDLED, ChosenWeights
from m3d_cli.models.spec import LITE, ModelSpec
from m3d_cli.photos.load import CameraSources
from m3d_cli.photos.remote import GIGABYTE
from m3d_cli.pipeline.clouds import CLOUD_FORMATS, CloudStyle
from m3d_cli.pipeline.plan import OutputFormat
from m3d_cli.version import __version__

# What can hold the range of photos that are not flat.
RANGE_FORMATS = (
    OutputFormat.PNG,
    OutputFormat.NPY,
    OutputFormat.TIFF,
    OutputFormat.PFM,
    OutputFormat.PREVIEW,
    OutputFormat.PLY,
    OutputFormat.PCD,
    OutputFormat.XYZ,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides what is written for a photo; ``max_depth`` in metres, None for no limit.

    ``most_download`` is the largest photo, in bytes, that is fetched from a URL. With ``stored``, a depth file or a
    folder of them, depth is read back from there and no network runs.
    """

    model: ModelSpec
    weights: ChosenWeights
    formats: tuple[OutputFormat, ...] = (OutputFormat.PNG,)
    png_scale: float = MILLIMETRES
    preview: PreviewStyle = field(default_factory=PreviewStyle)
    cloud: CloudStyle = field(default_factory=CloudStyle)
    max_depth: float | None = None
    precision: str = "auto"
    backend: str = "auto"
    camera: CameraSources = field(default_factory=CameraSources)
    stored: Path | None = None
    most_download: int = GIGABYTE

    def __post_init__(self) -> None:
        if not (math.isfinite(self.png_scale) and self.png_scale > 0):
            raise UsageError(f"--png-scale {self.png_scale} is not a positive number", hint="1000 is millimetres")
        check_backend(self.backend, self.weights.path)
        if self.max_depth is not None and not self.max_depth > 0:
            raise UsageError(f"--max-depth {self.max_depth} is not a positive number of metres")
        if not self.model.has_normals and self.wants_normals:
            raise UsageError(f"{self.model.name} gives no normals", hint="take a ViT model, or leave normal out")
        self._check_projection()
        if OutputFormat.EXR in self.formats and not can_write_exr():
            raise UsageError("writing EXR needs OpenEXR", hint=f"{install_hint('exr')}; or --format tiff")

    def _check_projection(self) -> None:
        if self.camera.projection is None:
            return
        if self.stored is not None:
            raise UsageError("--projection says how photos are cut for the network, --depth runs none")
        if self.camera.from_image or self.camera.require_focal or self.camera.user != UserFocal():
            raise UsageError(
                "a photo that is not flat has no focal length",
                hint="with --projection give --fov or --intrinsics for a fisheye, and nothing otherwise",
            )
        others = [str(kind) for kind in self.formats if kind not in RANGE_FORMATS]
        if others:
            raise UsageError(
                f"--format {','.join(others)} is not written for photos that are not flat",
                hint=f"any of {', '.join(RANGE_FORMATS)}",
            )

    def estimates_focal(self, camera: Camera, *, is_shared: bool = False) -> bool:
        """Whether the focal length is estimated from the image: on the user's request, else where nothing is known.

        Not for photos that share a camera (``is_shared``): each would get another one.
        """
        return self.camera.from_image or (self._tells_focal and camera.is_assumed and not is_shared)

    @property
    def _tells_focal(self) -> bool:
        return LITE.tells_focal and not self.model.hidden

    @property
    def waits_for(self) -> str:
        """What the first photo waits for; nothing where depth is read back."""
        return "loading network" if self.stored is None else ""

    @property
    def wants_confidence(self) -> bool:
        """Whether a format holds or needs the confidence."""
        asked = (OutputFormat.CONFIDENCE, OutputFormat.NPZ, *CLOUD_FORMATS)
        return any(kind in self.formats for kind in asked)

    @property
    def wants_clouds(self) -> bool:
        """Whether a format is made of points, and so needs the full photo for their colours."""
        return any(kind in self.formats for kind in CLOUD_FORMATS)

    @property
    def wants_normals(self) -> bool:
        """Whether a format holds the normals."""
        asked = OutputFormat.NORMAL in self.formats or OutputFormat.NORMAL_NPY in self.formats
        inside = OutputFormat.NPZ in self.formats or (self.wants_clouds and self.cloud.normals)
        return asked or (self.model.has_normals and inside)

    @property
    def wanted(self) -> Wanted:
        """What the network is asked for."""
        return Wanted(self.wants_confidence, self.wants_normals, self.max_depth)

    @property
    def wanted_by_files(self) -> Wanted:
        """What the files are made of: where depth PNGs are all of them, no more than their steps."""
        only_png = all(kind is OutputFormat.PNG for kind in self.formats)
        return dataclasses.replace(self.wanted, png_scale=self.png_scale if only_png else None)

    @property
    def digest(self) -> str:
        """Hash of all that changes a byte of every photo's outputs.

        What a calibration or EXIF file says of one photo is not in it: that goes into the key of this photo alone.
        """
        # Requiring a focal length refuses photos; it changes none.
        camera = dataclasses.replace(self.camera, require_focal=False, calibration=None, sidecar=None).digest
        parts = (
            __version__,
            self.model.label,
            self.model.canonical,
            self.weights.sha256,
            self.precision,
            camera,
            [str(kind) for kind in self.formats],
            self.png_scale,
            self.preview,
            self.cloud,
            self.max_depth,
            BUNDLED[LITE.name].sha256 if self.camera.from_image or self._tells_focal else "",
        )
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()


def check_stored_camera(camera: CameraSources, depth: Path | None) -> None:
    """Raise UsageError for a focal length given beside existing depth maps, which have their own in the sidecar."""
    if depth is not None and (camera.from_image or camera.user != UserFocal()):
        raise UsageError("--depth has its own focal length, another one cannot be given", hint="run m3d depth with it")
