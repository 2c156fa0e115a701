"""What is known of each network besides its weights: canonical camera, input normalisation, licence, accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from m3d_cli.canonical import CanonicalSpec
from m3d_cli.errors import UsageError

# ImageNet statistics on the 0..1 scale, which DINOv2 was trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One network. ``depth_range`` is in canonical metres; what it predicts beyond is unknown (sky).

    ``hidden`` networks exist for tests and are not listed.
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


LITE = ModelSpec(
    name="lite",
    canonical=CanonicalSpec(focal=240.0, height=252, width=336),
    depth_range=(0.1, 150.0),
    licence="research and non-commercial use",
    origin="trained by the m3d authors, see weights.md",
    accuracy="AbsRel 0.224 metric, 0.179 after median scaling; d1 0.585 (mean of four unseen sources)",
    weak_at=(
        "scale outside what it saw (street scenes through long lenses come out too near), thin st"
        "ructures, glass, mirrors and screens, faces and animals close up, wide halls, anything beyond about 80 m"
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

SPECS = {spec.name: spec for spec in (LITE, TEST_LITE)}


def model_spec(name: str) -> ModelSpec:
    """The spec of a registered network."""
    if name not in SPECS:
        listed = ", ".join(sorted(s.name for s in SPECS.values() if not s.hidden))
        raise UsageError(f"no model named {name}", hint=f"one of {listed}", code="NO_MODEL")
    return SPECS[name]
