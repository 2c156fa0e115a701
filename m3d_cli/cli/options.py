"""Options that several commands share, and what they become; most can also be set as ``M3D_...`` in the environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3d_cli.errors import NoInputError, UsageError

if TYPE_CHECKING:
    from m3d_cli.cli.console import Talk
    from m3d_cli.files.discover import Listing
    from m3d_cli.models.registry import ChosenWeights
    from m3d_cli.models.spec import ModelSpec

_INPUT = "Inputs"
_CAMERA = "Camera"
_MODEL = "Model"
_FILES = "Files"
_RUN = "Run"
_TALK = "Output"

Paths = Annotated[
    list[str] | None,
    typer.Argument(metavar="PATH...", help="Photos, folders, or quoted globs.", show_default=False),
]
FilesFrom = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Read paths from FILE, one a line; - is standard input.", rich_help_panel=_INPUT),
]
NullSeparated = Annotated[
    bool, typer.Option("--null", "-0", help="Paths of --files-from end in NUL bytes.", rich_help_panel=_INPUT)
]
Recursive = Annotated[
    bool,
    typer.Option(
        "--recursive", "-r", envvar="M3D_RECURSIVE", help="Also read the folders below.", rich_help_panel=_INPUT
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Only photos whose name or path fits.", rich_help_panel=_INPUT),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="No photos whose name or path fits.", rich_help_panel=_INPUT),
]
Hidden = Annotated[bool, typer.Option("--hidden", help="Also read hidden files and folders.", rich_help_panel=_INPUT)]

Focal = Annotated[
    str | None,
    typer.Option(
        metavar="PX",
        envvar="M3D_FOCAL",
        help="Focal length in pixels of the upright file, or: estimate (from the picture, whatever EXIF says).",
        rich_help_panel=_CAMERA,
    ),
]
FocalMm = Annotated[
    float | None,
    typer.Option(
        metavar="MM",
        envvar="M3D_FOCAL_MM",
        help="Real focal length; needs --sensor-width.",
        rich_help_panel=_CAMERA,
    ),
]
SensorWidth = Annotated[
    float | None,
    typer.Option(
        metavar="MM",
        envvar="M3D_SENSOR_WIDTH",
        help="Width (long side) of the sensor; alone, it goes with the focal length in EXIF.",
        rich_help_panel=_CAMERA,
    ),
]
Focal35 = Annotated[
    float | None,
    typer.Option(
        "--focal-35mm",
        metavar="MM",
        envvar="M3D_FOCAL_35MM",
        help="35 mm equivalent focal length (by diagonal).",
        rich_help_panel=_CAMERA,
    ),
]
Fov = Annotated[
    float | None,
    typer.Option(
        "--fov",
        "--fov-x",
        metavar="DEGREES",
        envvar="M3D_FOV",
        help="Horizontal angle of view.",
        rich_help_panel=_CAMERA,
    ),
]
IntrinsicsFile = Annotated[
    Path | None,
    typer.Option(
        "--intrinsics",
        metavar="FILE",
        envvar="M3D_INTRINSICS",
        help="Calibration: JSON, YAML, NPY, TXT, COLMAP cameras.txt, nerfstudio transforms.json, OpenCV YAML or XML.",
        rich_help_panel=_CAMERA,
    ),
]
ExifJson = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="M3D_EXIF_JSON",
        help="EXIF kept apart: exiftool -json, or Flickr's getExif.",
        rich_help_panel=_CAMERA,
    ),
]
SensorDb = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="M3D_SENSOR_DB",
        help="Sensor widths as lines Make;Model;mm, asked before lensfun's database.",
        rich_help_panel=_CAMERA,
    ),
]
SameCamera = Annotated[
    bool,
    typer.Option(
        "--same-camera",
        envvar="M3D_SAME_CAMERA",
        help="All photos are from one camera at one zoom: use their common focal length.",
        rich_help_panel=_CAMERA,
    ),
]
RequireFocal = Annotated[
    bool,
    typer.Option(
        "--require-focal",
        envvar="M3D_REQUIRE_FOCAL",
        help="Fail a photo whose focal length would have to be assumed.",
        rich_help_panel=_CAMERA,
    ),
]

Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        envvar="M3D_OUT",
        help="Folder that gets the results, laid out like the inputs; - writes one photo's PNG to stdout.",
        rich_help_panel=_FILES,
    ),
]
Formats = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="LIST",
        envvar="M3D_FORMAT",
        help="Any of png, npy, npz, tiff, pfm, exr, conf, normal, normal-npy, preview, with commas; "
        "a JSON sidecar always comes along.",
        rich_help_panel=_FILES,
    ),
]
PngScale = Annotated[
    float,
    typer.Option(
        metavar="N",
        envvar="M3D_PNG_SCALE",
        help="PNG value = metres * N: 1000 is millimetres up to 65.5 m, 256 is KITTI's, up to 256 m.",
        rich_help_panel=_FILES,
    ),
]
KeepExtension = Annotated[
    bool,
    typer.Option(
        "--keep-extension",
        envvar="M3D_KEEP_EXTENSION",
        help="a.jpg becomes a.jpg.png, so that a.jpg and a.heic can share a folder.",
        rich_help_panel=_FILES,
    ),
]
MaxDepth = Annotated[
    float | None,
    typer.Option(
        metavar="M", envvar="M3D_MAX_DEPTH", help="Depth beyond M metres becomes unknown.", rich_help_panel=_FILES
    ),
]
Vmin = Annotated[
    float | None,
    typer.Option(metavar="M", envvar="M3D_VMIN", help="Preview: nearest colour, in metres.", rich_help_panel=_FILES),
]
Vmax = Annotated[
    float | None,
    typer.Option(metavar="M", envvar="M3D_VMAX", help="Preview: farthest colour, in metres.", rich_help_panel=_FILES),
]
ColourMap = Annotated[
    str,
    typer.Option(
        "--colour-map",
        "--color-map",
        metavar="NAME",
        envvar="M3D_COLOUR_MAP",
        help="Preview: turbo or viridis.",
        rich_help_panel=_FILES,
    ),
]

Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        envvar="M3D_MODEL",
        help="Network; see m3d models. Without it vit-small if installed, else lite.",
        show_default=False,
        rich_help_panel=_MODEL,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="M3D_WEIGHTS",
        help="Weights from a file: a published checkpoint, or safetensors of m3d's own.",
        rich_help_panel=_MODEL,
    ),
]
Device = Annotated[
    str,
    typer.Option(metavar="NAME", envvar="M3D_DEVICE", help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=_MODEL),
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="LIST",
        envvar="M3D_DEVICES",
        help="Share the photos among GPUs, a process each: 0,1,2 or all.",
        rich_help_panel=_MODEL,
    ),
]
Precision = Annotated[
    str,
    typer.Option(metavar="NAME", envvar="M3D_PRECISION", help="auto, fp32, bf16 or fp16.", rich_help_panel=_MODEL),
]
BatchSize = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        envvar="M3D_BATCH_SIZE",
        help="Photos a batch on a GPU, or auto: the best is tried once and remembered. Halves when memory runs out.",
        rich_help_panel=_MODEL,
    ),
]

Backend = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        envvar="M3D_BACKEND",
        help="auto, torch, onnx or openvino; auto takes the fastest that is installed where the run is long enough.",
        rich_help_panel=_MODEL,
    ),
]

Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        envvar="M3D_OVERWRITE",
        help="Do every photo again, over whatever is there.",
        rich_help_panel=_RUN,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show what would be done, with each focal length.", rich_help_panel=_RUN),
]
FailFast = Annotated[
    bool,
    typer.Option("--fail-fast", envvar="M3D_FAIL_FAST", help="Stop at the first failure.", rich_help_panel=_RUN),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        envvar="M3D_SHARD",
        help="Do one of N equal parts; auto asks SLURM or torchrun. Ends with: m3d merge OUT.",
        rich_help_panel=_RUN,
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="NAME",
        envvar="M3D_ENGINE",
        help="local, or ray: a Ray cluster whose machines share this disk; needs m3d-cli[ray].",
        rich_help_panel=_RUN,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        envvar="M3D_RAY_ADDRESS",
        help="A running cluster, or auto to find one; without it Ray is started here for the run.",
        rich_help_panel=_RUN,
    ),
]
RayActors = Annotated[
    int | None,
    typer.Option(
        "--ray-actors",
        metavar="N",
        min=1,
        envvar="M3D_RAY_ACTORS",
        help="Networks in the cluster; without it one a GPU, or one a machine.",
        rich_help_panel=_RUN,
    ),
]
MaxDownload = Annotated[
    float,
    typer.Option(
        metavar="GB",
        min=0.001,
        envvar="M3D_MAX_DOWNLOAD",
        help="Largest photo that is fetched from a URL.",
        rich_help_panel=_INPUT,
    ),
]
MaxFailures = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, envvar="M3D_MAX_FAILURES", help="Stop after N failures.", rich_help_panel=_RUN),
]
ExitZero = Annotated[
    bool,
    typer.Option("--exit-zero", envvar="M3D_EXIT_ZERO", help="Return 0 even if photos failed.", rich_help_panel=_RUN),
]

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.", rich_help_panel=_TALK)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", envvar="M3D_QUIET", help="Errors only.", rich_help_panel=_TALK)]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", envvar="M3D_VERBOSE", help="Tell more.", rich_help_panel=_TALK)
]


def choose_model(name: str | None, talk: Talk, weights: Path | None = None) -> str:
    """The network of a run, or that of an ONNX file; who named none is told of a better one than the bundled."""
    from m3d_cli.models.onnx_file import named_model
    from m3d_cli.models.registry import BEST_DEFAULT, BUNDLED_DEFAULT, default_model

    if named := name or named_model(weights):
        return named
    chosen = default_model()
    if chosen == BUNDLED_DEFAULT:
        talk.say(f"network: {chosen}, small and bundled; m3d weights pull {BEST_DEFAULT} installs a stronger one")
    return chosen


def choose_network(
    model: str | None, weights: Path | None, depth: Path | None, talk: Talk
) -> tuple[ModelSpec, ChosenWeights]:
    """The network to run; depth that is read back names its own, and none runs."""
    from m3d_cli.models.registry import ChosenWeights, choose_weights
    from m3d_cli.models.spec import LITE, model_spec

    if depth is not None:
        if model is not None or weights is not None:
            raise UsageError("--depth is there already: no network runs", hint="leave --model and --weights out")
        return LITE, ChosenWeights(None, "")
    spec = model_spec(choose_model(model, talk, weights))
    return spec, choose_weights(spec, weights)


def find_photos(
    paths: Sequence[str] | None,
    *,
    files_from: str | None = None,
    null_separated: bool = False,
    recursive: bool = False,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    hidden: bool = False,
    skip_folders: Sequence[Path] = (),
    takes_urls: bool = False,
) -> Listing:
    """The photos the input options name; raises `NoInputError` when none is there, `UsageError` when none was named."""
    from m3d_cli.files.discover import Selection, discover, read_list
    from m3d_cli.files.remote import is_url

    if not paths and files_from is None:
        raise UsageError("no photos named", hint="give files, folders or quoted globs, or --files-from")
    listed = read_list(files_from, null_separated=null_separated) if files_from is not None else []
    if not takes_urls and (urls := [text for text in (*(paths or ()), *listed) if is_url(text)]):
        raise UsageError(f"{urls[0]}: this command reads local files", hint="m3d depth and m3d pointcloud take URLs")
    selection = Selection(recursive, tuple(include or ()), tuple(exclude or ()), hidden, tuple(skip_folders))
    listing = discover(paths or (), selection, listed=listed)
    if not listing.photos:
        raise NoInputError(f"no photos found: {listing.summary()}", hint="check the paths; --recursive goes deeper")
    return listing
