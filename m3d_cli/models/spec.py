"""What is known of each network besides its weights: canonical camera, input normalisation, licence, accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from m3d_cli.canonical import CanonicalSpec
from m3d_cli.depthmap import DepthErrorModel
from m3d_cli.errors import UsageError

# ImageNet statistics on the 0..1 scale, which DINOv2 was trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# What is assumed of a network whose errors nobody measured.
USUAL_ERRORS = DepthErrorModel()


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One network. ``depth_range`` is in canonical metres; what it predicts beyond is unknown (sky).

    ``hidden`` networks exist for tests and are not listed. ``errors`` are those of ln depth. ``weights_name`` is the
    file of weights that are not the published ones.
    """

    name: str
    canonical: CanonicalSpec
    depth_range: tuple[float, float]
    licence: str
    origin: str
    accuracy: str
    weak_at: str
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    hidden: bool = False
    has_normals: bool = False
    tells_focal: bool = False
    errors: DepthErrorModel = USUAL_ERRORS
    weights_name: str = ""

    @property
    def label(self) -> str:
        """What results call it: its name, after that of the file whose weights are not the published ones."""
        return f"{self.weights_name} ({self.name})" if self.weights_name else self.name


LITE = ModelSpec(
    name="lite",
    canonical=CanonicalSpec(focal=240.0, height=252, width=336),
    depth_range=(0.1, 150.0),
    licence="research and non-commercial use",
    origin="trained by the m3d authors, see weights.md",
    tells_focal=True,
    accuracy="AbsRel 0.204 metric, 0.164 after median scaling; d1 0.683 (mean of four unseen sources)",
    weak_at=(
        "the shape of open country roads and lawns, scale of single photos (15 % from photo to photo), thin "
        "structures, glass, mirrors and screens, faces and animals close up, wide halls, anything beyond about 80 m"
    ),
    # Measured on the frames of weights.md by bench/noise.py.
    errors=DepthErrorModel(
        scale_sigma=0.151,
        object_sigma=0.158,
        shape_sigma=0.097,
        shape_reach=1.0,
        confidence_errors=(
            (0.816, 1.589),
            (0.855, 1.294),
            (0.887, 0.922),
            (0.908, 0.614),
            (0.929, 0.579),
            (0.953, 0.486),
        ),
        relief_sigma=0.237,
    ),
)

TEST_LITE = ModelSpec(
    name="m3d-test-lite",
    canonical=CanonicalSpec(focal=60.0, height=56, width=84),
    depth_range=(0.1, 150.0),
    licence="BSD-2-Clause",
    origin="seeded random numbers, for tests",
    accuracy="none",
    weak_at="everything",
    hidden=True,
)

# What is true of all published networks. Their tools also drop metric depth beyond 300 m; here --max-depth does that.
METRIC3D_LICENCE = "BSD-2-Clause (code; the weights carry no statement of their own)"
METRIC3D_V1 = "Metric3D, github.com/YvanYin/Metric3D, arXiv 2307.10984"
METRIC3D_V2 = "Metric3D v2, github.com/YvanYin/Metric3D, arXiv 2404.15506"
CONVNEXT_CANONICAL = CanonicalSpec(focal=1000.0, height=544, width=1216, antialias=False)
VIT_CANONICAL = CanonicalSpec(focal=1000.0, height=616, width=1064, antialias=False)
# The bins' range: detail added to depth may lead out of it, where nothing was learned.
CONVNEXT_RANGE = (0.3, 150.0)
# The network clamps to it, both ends included: sky is at 200 and is kept, --max-depth drops it.
VIT_RANGE = (0.1, 200.0)
WEAK_AT_SCALE = "photos whose focal length is wrong, the scale of close-ups (iBims-1 d1 0.68-0.75), sharp depth edges"

CONVNEXT_TINY = ModelSpec(
    name="convnext-tiny",
    canonical=CONVNEXT_CANONICAL,
    depth_range=CONVNEXT_RANGE,
    licence=METRIC3D_LICENCE,
    origin=METRIC3D_V1,
    accuracy="none published for this size",
    weak_at=f"{WEAK_AT_SCALE}; less accurate than convnext-large; sky and anything beyond 150 canonical metres",
)

CONVNEXT_LARGE = ModelSpec(
    name="convnext-large",
    canonical=CONVNEXT_CANONICAL,
    depth_range=CONVNEXT_RANGE,
    licence=METRIC3D_LICENCE,
    origin=METRIC3D_V1,
    accuracy="published: NYU AbsRel 0.083 d1 0.944, KITTI AbsRel 0.058 d1 0.964; re-run by others: ETH3D d1 0.20-0.34",
    weak_at=f"{WEAK_AT_SCALE}; sky and anything beyond 150 canonical metres",
)

VIT_SMALL = ModelSpec(
    name="vit-small",
    canonical=VIT_CANONICAL,
    depth_range=VIT_RANGE,
    licence=METRIC3D_LICENCE,
    origin=METRIC3D_V2,
    accuracy="none published for this size",
    weak_at=f"{WEAK_AT_SCALE}; less accurate than vit-large; anything beyond 200 canonical metres",
    has_normals=True,
)

VIT_LARGE = ModelSpec(
    name="vit-large",
    canonical=VIT_CANONICAL,
    depth_range=VIT_RANGE,
    licence=METRIC3D_LICENCE,
    origin=METRIC3D_V2,
    accuracy="published: NYU AbsRel 0.063 d1 0.975, KITTI AbsRel 0.052 d1 0.974",
    weak_at=f"{WEAK_AT_SCALE}; anything beyond 200 canonical metres; slow without a GPU",
    has_normals=True,
)

VIT_GIANT2 = ModelSpec(
    name="vit-giant2",
    canonical=VIT_CANONICAL,
    depth_range=VIT_RANGE,
    licence=METRIC3D_LICENCE,
    origin=METRIC3D_V2,
    accuracy="published: NYU AbsRel 0.067 d1 0.980, KITTI AbsRel 0.051 d1 0.989",
    weak_at=f"{WEAK_AT_SCALE}; anything beyond 200 canonical metres; minutes a photo without a GPU, 9 GB of memory",
    has_normals=True,
)

TEST_CONVNEXT = ModelSpec(
    name="m3d-test-convnext",
    canonical=CanonicalSpec(focal=60.0, height=64, width=96, antialias=False),
    depth_range=CONVNEXT_RANGE,
    licence="BSD-2-Clause",
    origin="seeded random numbers, for tests",
    accuracy="none",
    weak_at="everything",
    hidden=True,
)

TEST_VIT = ModelSpec(
    name="m3d-test-vit",
    canonical=CanonicalSpec(focal=60.0, height=56, width=84, antialias=False),
    depth_range=VIT_RANGE,
    licence="BSD-2-Clause",
    origin="seeded random numbers, for tests",
    accuracy="none",
    weak_at="everything",
    hidden=True,
    has_normals=True,
)

SPECS = {
    spec.name: spec
    for spec in (
        LITE,
        CONVNEXT_TINY,
        CONVNEXT_LARGE,
        VIT_SMALL,
        VIT_LARGE,
        VIT_GIANT2,
        TEST_LITE,
        TEST_CONVNEXT,
        TEST_VIT,
    )
}


def model_spec(name: str) -> ModelSpec:
    """The spec of a registered network."""
    if name not in SPECS:
        listed = ", ".join(sorted(s.name for s in SPECS.values() if not s.hidden))
        raise UsageError(f"no model named {name}", hint=f"one of {listed}", code="NO_MODEL")
    return SPECS[name]
