"""The options that several commands share, in groups, and what they become.

What stands here once has the same name, environment variable and help text in every command.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.grouping import given, given_by, option, setting
from m3d_cli.errors import UsageError

if TYPE_CHECKING:
    from m3d_cli.models.registry import ChosenWeights
    from m3d_cli.models.spec import ModelSpec
    from m3d_cli.photos.discover import Listing
    from m3d_cli.photos.load import CameraSources
    from m3d_cli.pipeline.settings import Settings
    from m3d_cli.pipeline.workers import Workers

INPUT = "Input"
CAMERA = "Camera"
OUTPUT = "Output"
NETWORK = "Network"
RUN = "Run"
MESSAGES = "Messages"

# Options that exclude one another: where the command line gives one, those of the environment are set aside.
_FOCAL_OPTIONS = ("focal", "focal_mm", "focal_35mm", "fov", "intrinsics")
# The word of --focal for: estimate it from the image.
_ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class InputOptions:
    """Which photos."""

    PANEL: ClassVar[str] = INPUT

    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH...", help="Photos, folders, or quoted globs.", show_default=False),
    ] = None
    files_from: Annotated[
        str | None, option("Read paths from FILE, one per line; - is standard input.", metavar="FILE")
    ] = None
    null_separated: Annotated[bool, option("Paths of --files-from end in NUL bytes.", "--null", "-0")] = False
    recursive: Annotated[bool, setting("Also read subfolders.", "--recursive", "-r")] = False
    include: Annotated[list[str] | None, option("Only photos whose name or path matches.", metavar="GLOB")] = None
    exclude: Annotated[list[str] | None, option("No photos whose name or path matches.", metavar="GLOB")] = None
    hidden: Annotated[bool, option("Also read hidden files and folders.")] = False

    @property
    def is_empty(self) -> bool:
        """Whether no photo is named in any way."""
        return not self.paths and self.files_from is None

    def listing(self, messages: Messages, *, skip_folders: tuple[Path, ...] = (), takes_urls: bool = False) -> Listing:
        """The photos named, counted for the user; raises `NoInputError` without any, `UsageError` if none was named."""
        listing = self.find(skip_folders=skip_folders, takes_urls=takes_urls)
        (messages.say if listing.ignored else messages.detail)(listing.summary())
        return listing

    def find(self, *, skip_folders: tuple[Path, ...] = (), takes_urls: bool = False) -> Listing:
        """The photos named."""
        from m3d_cli.photos.discover import Selection, find_photos

        selection = Selection(
            self.recursive, tuple(self.include or ()), tuple(self.exclude or ()), self.hidden, skip_folders
        )
        return find_photos(
            self.paths or (), selection, self.files_from, null_separated=self.null_separated, takes_urls=takes_urls
        )


@dataclass(frozen=True, slots=True)
class RemoteInputOptions(InputOptions):
    """Which photos, on disk or behind URLs."""

    max_download: Annotated[float, setting("Largest photo that is fetched from a URL.", metavar="GB", min=0.001)] = 1.0

    @property
    def most_download(self) -> int:
        """The same in bytes."""
        from m3d_cli.photos.remote import GIGABYTE

        return round(self.max_download * GIGABYTE)


@dataclass(frozen=True, slots=True)
class FocalOptions:
    """What is known of the camera, and the files that say more."""

    PANEL: ClassVar[str] = CAMERA

    focal: Annotated[
        str | None, setting("Focal length in pixels of the upright file; or: estimate, from the image.", metavar="PX")
    ] = None
    focal_mm: Annotated[float | None, setting("Real focal length; needs --sensor-width.", metavar="MM")] = None
    sensor_width: Annotated[
        float | None, setting("Width (long side) of the sensor; alone, with the focal length in EXIF.", metavar="MM")
    ] = None
    focal_35mm: Annotated[float | None, setting("35 mm equivalent focal length (by diagonal).", metavar="MM")] = None
    fov: Annotated[float | None, setting("Horizontal field of view.", "--fov", "--fov-x", metavar="DEGREES")] = None
    intrinsics: Annotated[
        Path | None, setting("Calibration file of OpenCV, ROS, COLMAP, Kalibr and many more.", metavar="FILE")
    ] = None
    exif_json: Annotated[
        Path | None, setting("EXIF in a file: exiftool -json, or Flickr's getExif.", metavar="FILE")
    ] = None
    sensor_db: Annotated[
        Path | None, setting("Sensor widths as lines Make;Model;mm, before lensfun's database.", metavar="FILE")
    ] = None

    def sources(self, context: typer.Context, *, require_focal: bool = False) -> CameraSources:
        """The camera facts with their files read; the command line sets aside focal lengths of the environment."""
        from m3d_cli.intrinsics.ladder import UserFocal
        from m3d_cli.photos.load import CameraSources
        from m3d_cli.photos.projection import parse_projection

        set_aside = given_by(context, "ENVIRONMENT", _FOCAL_OPTIONS) if given(context, *_FOCAL_OPTIONS) else ()
        focal, focal_mm, focal_35mm, fov, intrinsics = (
            None if name in set_aside else getattr(self, name) for name in _FOCAL_OPTIONS
        )
        pixels = None if focal in (None, _ESTIMATE) else _pixels(focal)
        projection = parse_projection(getattr(self, "projection", None), fov)
        return CameraSources.from_files(
            UserFocal(pixels, focal_mm, self.sensor_width, focal_35mm, None if projection else fov),
            intrinsics=intrinsics,
            exif_json=self.exif_json,
            sensor_db=self.sensor_db,
            require_focal=require_focal,
            from_image=focal == _ESTIMATE,
            projection=projection,
        )


def _pixels(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--focal {text} is neither a number of pixels nor: {_ESTIMATE}") from None


@dataclass(frozen=True, slots=True)
class SharedCameraOptions(FocalOptions):
    """The camera, which all photos may share."""

    same_camera: Annotated[bool, setting("One camera at one zoom took all photos: use their common focal length.")] = (
        False
    )


@dataclass(frozen=True, slots=True)
class CameraOptions(SharedCameraOptions):
    """The camera, and what to do where nothing is known of it."""

    require_focal: Annotated[bool, setting("Fail a photo whose focal length would have to be assumed.")] = False


@dataclass(frozen=True, slots=True)
class AnyCameraOptions(CameraOptions):
    """The camera, of photos that need not be flat."""

    projection: Annotated[
        str | None, setting("Not flat: equirectangular (360 x 180 degrees), or fisheye (--fov).", metavar="NAME")
    ] = None


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Which files, and where."""

    PANEL: ClassVar[str] = OUTPUT

    out: Annotated[
        str | None,
        setting(
            "Folder of the results, laid out like the inputs; - writes one photo's file to stdout.",
            "--out",
            "-o",
            metavar="DIR",
        ),
    ] = None
    formats: Annotated[
        str,
        setting(
            "Any of png, npy, npz, tiff, pfm, exr, conf, normal, normal-npy, preview, with commas; JSON always.",
            "--format",
            metavar="LIST",
            envvar="M3D_FORMAT",
        ),
    ] = "png"
    keep_extension: Annotated[
        bool, setting("a.jpg becomes a.jpg.png, so that a.jpg and a.heic can share a folder.")
    ] = False
    max_depth: Annotated[float | None, setting("Depth beyond M metres becomes unknown.", metavar="M")] = None


ColourMap = Annotated[str, setting("Preview: turbo or viridis.", "--colour-map", "--color-map", metavar="NAME")]


@dataclass(frozen=True, slots=True)
class DepthOutputOptions(OutputOptions):
    """Files of depth, and how their previews look."""

    png_scale: Annotated[
        float, setting("PNG value = metres * N: 1000 reaches 65.5 m, 256 (KITTI) 256 m.", metavar="N")
    ] = 1000.0
    vmin: Annotated[float | None, setting("Preview: nearest colour, in metres.", metavar="M")] = None
    vmax: Annotated[float | None, setting("Preview: farthest colour, in metres.", metavar="M")] = None
    colour_map: ColourMap = "turbo"


Model = Annotated[
    str | None,
    setting("Network; see m3d models. Default: vit-small if installed, else lite.", metavar="NAME", show_default=False),
]
Weights = Annotated[
    Path | None, setting("Weights from a file: a published checkpoint, or safetensors of m3d's own.", metavar="FILE")
]
Precision = Annotated[str, setting("auto, fp32, bf16 or fp16.", metavar="NAME")]
Device = Annotated[
    str, setting("auto, cpu, cuda, cuda:1, mps; several share the photos: cuda:0,cuda:1 or all.", metavar="NAME")
]


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """Which network."""

    PANEL: ClassVar[str] = NETWORK

    model: Model = None
    weights: Weights = None

    def model_name(self, messages: Messages) -> str:
        """The network named, that of an ONNX file, or the default with a notice of a better one."""
        from m3d_cli.models.own_weights import announced_name

        return announced_name(self.model, self.weights, messages)


@dataclass(frozen=True, slots=True)
class NetworkOptions(NetworkFile):
    """Which network, and what computes it."""

    device: Device = "auto"
    devices: Annotated[str | None, setting("", metavar="LIST", hidden=True)] = None
    precision: Precision = "auto"
    batch_size: Annotated[
        str | None,
        setting("Photos per batch on a GPU; auto measures it once. Halved when memory runs out.", metavar="N"),
    ] = None
    backend: Annotated[
        str, setting("auto, torch, onnx or openvino; auto takes the fastest for the length of the run.", metavar="NAME")
    ] = "auto"

    def chosen(self, messages: Messages, depth: Path | None = None) -> tuple[ModelSpec, ChosenWeights]:
        """The network to run; existing depth maps name their own, and none runs."""
        from m3d_cli.models.own_weights import announced_network
        from m3d_cli.models.registry import ChosenWeights
        from m3d_cli.models.spec import LITE

        if depth is not None:
            if self.model is not None or self.weights is not None:
                raise UsageError("--depth reads existing depth maps", hint="leave --model and --weights out")
            return LITE, ChosenWeights(None, "")
        return announced_network(self.model, self.weights, messages)

    def settings(self, messages: Messages, depth: Path | None = None, **more: Any) -> Settings:
        """Settings of a run with this network; ``more`` as for `pipeline.settings.Settings`."""
        from m3d_cli.pipeline.settings import Settings

        spec, weights = self.chosen(messages, depth)
        return Settings(spec, weights, precision=self.precision, backend=self.backend, stored=depth, **more)

    def workers(self, *, takes_several: bool = False) -> Workers:
        """What computes the run; raises UsageError for several devices where a command takes one."""
        from m3d_cli.inference.device_list import parse_devices
        from m3d_cli.pipeline.workers import Workers

        if self.devices is not None and self.device != "auto":
            raise UsageError("--device and --devices contradict each other", hint="--device takes a list")
        # A number alone was a device of --devices.
        names = parse_devices(self.device if self.devices is None else self.devices)
        if len(names) > 1 and not takes_several:
            raise UsageError("this command runs on one device", hint="give --device one name")
        return Workers(names, self.precision, self.batch_size, self.backend)


@dataclass(frozen=True, slots=True)
class FailureOptions:
    """What to do again, and what failures mean."""

    PANEL: ClassVar[str] = RUN

    overwrite: Annotated[bool, setting("Do every photo again and replace existing files.")] = False
    exit_zero: Annotated[bool, setting("Return 0 even if photos failed.")] = False


@dataclass(frozen=True, slots=True)
class RunOptions(FailureOptions):
    """How a run over many photos goes."""

    dry_run: Annotated[bool, option("Show what would be done, with each focal length.")] = False
    shard: Annotated[
        str | None, setting("Do one of N equal parts; auto: of SLURM or torchrun. Then: m3d merge OUT.", metavar="I/N")
    ] = None
    engine: Annotated[
        str, setting("local, or ray: a cluster whose machines share this disk; m3d-cli\\[ray].", metavar="NAME")
    ] = "local"
    ray_address: Annotated[
        str | None, setting("A running cluster, or auto to find one; default: Ray is started here.", metavar="ADDRESS")
    ] = None
    ray_actors: Annotated[
        int | None, setting("Networks in the cluster; default: one per GPU or machine.", metavar="N", min=1)
    ] = None
    max_failures: Annotated[int | None, setting("Stop after N failures.", metavar="N", min=1)] = None
    fail_fast: Annotated[bool, setting("", hidden=True)] = False


Quiet = Annotated[bool, setting("Errors only.", "--quiet", "-q", envvar="M3D_QUIET")]
Json = Annotated[bool, option("One JSON object per line on stdout.", "--json")]


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """What is printed."""

    PANEL: ClassVar[str] = MESSAGES

    quiet: Quiet = False
    verbose: Annotated[bool, setting("Verbose output.", "--verbose", "-v")] = False

    def start(self) -> Messages:
        """Messages to the user, with the library's log among them."""
        from m3d_cli.cli.console import show_log

        show_log(verbose=self.verbose)
        return Messages(self.quiet, self.verbose)


@dataclass(frozen=True, slots=True)
class ReportOptions(MessageOptions):
    """What is printed, and in which form."""

    as_json: Json = False
