"""The settings of a training run, read from TOML and checked before anything starts."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from m3d_cli.bounded_files import TOML_BYTES, parse_toml, read_text, reading
from m3d_cli.datasets.layouts import LAYOUTS
from m3d_cli.errors import UsageError
from m3d_cli.synthesis.generate import SCENES
from m3d_cli.synthesis.scenes.shapes import FIELD_OF_VIEW, SHAPE_SCENES

# Degrees across an image.
Angle = Annotated[float, Field(gt=0, lt=180)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SyntheticGroup(_Section):
    """Rendered rooms, table tops, halls and streets; ``assets`` is the packed model library.

    ``scenes`` gives the share of each kind of scene (`synthesis.generate.SCENES`); left out, the default mixture.
    ``rich_light`` and ``field_of_view`` (degrees) are those of `synthesis.generate.Recipe`.
    """

    kind: Literal["synthetic"]
    weight: float = Field(gt=0)
    count: int = Field(gt=0)
    seed: int = 0
    assets: Path
    scenes: dict[str, Annotated[float, Field(ge=0)]] | None = None
    rich_light: bool = False
    field_of_view: tuple[Angle, Angle] | None = None

    @field_validator("scenes")
    @classmethod
    def _known_scenes(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        return _checked_shares(value, SCENES)


class ShapesGroup(_Section):
    """Boxes, cylinders and balls in rooms, yards and on tables (`datasets.shapes`), which need no models from outside.

    ``field_of_view`` bounds the cameras' horizontal angles in degrees, ``scenes`` gives the share of each kind.
    """

    kind: Literal["shapes"]
    weight: float = Field(gt=0)
    count: int = Field(gt=0)
    seed: int = 0
    scenes: dict[str, Annotated[float, Field(ge=0)]] | None = None
    field_of_view: tuple[Angle, Angle] = FIELD_OF_VIEW

    @field_validator("scenes")
    @classmethod
    def _known_scenes(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        return _checked_shares(value, SHAPE_SCENES)


def _checked_shares(value: dict[str, float] | None, scenes: Collection[str]) -> dict[str, float] | None:
    unknown = sorted((value or {}).keys() - set(scenes))
    if unknown:
        raise ValueError(f"no scenes named {', '.join(unknown)}: choose from {', '.join(scenes)}")
    if value is not None and not sum(value.values()) > 0:
        raise ValueError("the shares of the scenes add up to nothing")
    return value


class RgbdGroup(_Section):
    """RGB-D folders below ``root``; frames of split ``val`` are never read, ``exclude`` holds out whole sources."""

    kind: Literal["rgbd"]
    weight: float = Field(gt=0)
    root: Path
    sources: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class LayoutGroup(_Section):
    """Frames of a public data set in the folders it came in (`datasets.layouts.LAYOUTS`), of ``split`` where there are
    several.
    """

    kind: Literal["layout"]
    weight: float = Field(gt=0)
    layout: str
    root: Path
    split: str = ""

    @field_validator("layout")
    @classmethod
    def _known_layout(cls, value: str) -> str:
        if value not in LAYOUTS:
            raise ValueError(f"no layout named {value}: choose from {', '.join(LAYOUTS)}")
        return value


Group = Annotated[SyntheticGroup | ShapesGroup | RgbdGroup | LayoutGroup, Field(discriminator="kind")]


class DataSection(_Section):
    """Groups are drawn by weight; sources inside a group by the square root of their frame counts, or as the frames
    come (``natural``).
    """

    proportions: Literal["root", "natural"] = "root"
    canvas_width: int = Field(448, ge=32)
    canvas_height: int = Field(336, ge=32)
    groups: tuple[Group, ...] = Field(min_length=1)


class AugmentSection(_Section):
    """The canonical transform, then random zoom (relative to fitting the whole image), roll about the optical axis,
    mirror, light.

    ``transform``: CSTM_label, CSTM_image, or none (arXiv 2307.10984, section 3.1); with CSTM_image the zoom is what
    brings the focal length to the canonical one times a random resize. ``letterbox`` is the share of images cut to
    the shape of upright or panoramic photos, with border around them; ``soften`` and ``compress`` the shares that lose
    pixels and that are stored as JPEG, ``motion_blur`` of those blurred along a line, ``edge_mask`` of those that lose
    up to 49 rows and columns at their edges; hues turn by up to ``hue_degrees``. ``equivalent_mm`` draws the zoom so
    that focal lengths, as 35 mm equivalents of the network's input, have that median and a spread of
    ``equivalent_spread`` of their logarithm, whatever the scene: for a head that must not guess the lens from the kind
    of place.
    """

    transform: Literal["label", "image", "none"] = "label"
    resize_low: float = Field(0.85, gt=0)
    resize_high: float = Field(1.15, gt=0)

    zoom_low: float = Field(0.9, gt=0)
    zoom_high: float = Field(1.7, gt=0)
    equivalent_mm: float | None = Field(None, gt=0)
    equivalent_spread: float = Field(0.45, gt=0)
    roll_degrees: float = Field(4.0, ge=0)
    flip: float = Field(0.5, ge=0, le=1)
    letterbox: float = Field(0.0, ge=0, le=1)
    photometric: float = Field(0.8, ge=0, le=1)
    soften: float = Field(0.15, ge=0, le=1)
    compress: float = Field(0.1, ge=0, le=1)
    motion_blur: float = Field(0.0, ge=0, le=1)
    hue_degrees: float = Field(0.0, ge=0, le=180)
    edge_mask: float = Field(0.0, ge=0, le=1)


class LossSection(_Section):
    """Weights of the loss terms, by the names of `training.objective`; 0 leaves one out.

    The defaults suit lite. What the published networks were trained with is in ``configs/vit-small.toml``.
    """

    log_l1: float = Field(1.0, ge=0)
    scale_invariant_log: float = Field(0.5, ge=0)
    l1_sequence: float = Field(0.0, ge=0)
    rpnl: float = Field(0.5, ge=0)
    hdn: float = Field(0.0, ge=0)
    virtual_normal: float = Field(0.0, ge=0)
    normal: float = Field(0.0, ge=0)
    consistency: float = Field(0.0, ge=0)
    gradient: float = Field(0.5, ge=0)
    confidence: float = Field(0.1, ge=0)
    sky: float = Field(0.1, ge=0)
    sky_regularisation: float = Field(0.0, ge=0)
    focal: float = Field(0.0, ge=0)
    rpnl_crops: int = Field(32, gt=0)

    def weights(self) -> dict[str, float]:
        """Weight by name."""
        return {name: float(value) for name, value in self if name != "rpnl_crops"}

    @model_validator(mode="after")
    def _something_is_learned(self) -> LossSection:
        if not any(self.weights().values()):
            raise ValueError("all losses have weight 0")
        return self


class OptimiserSection(_Section):
    """AdamW with a linear warm-up and polynomial decay; the encoder learns at its own rate, 0 freezes it.

    ``frozen_blocks`` keeps the encoder's first blocks, and the embedding before them, as they start; ``only`` names the
    one part of the network that learns. A step looks at ``batch_size`` images, ``accumulate`` parts one after the
    other where memory is short. ``ema_decay`` 0 gives the weights as they are. After ``patience`` steps in a row whose
    loss or gradient is not finite the run stops.
    """

    steps: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    learning_rate: float = Field(5e-4, gt=0)
    encoder_learning_rate: float = Field(3e-5, ge=0)
    layer_decay: float = Field(0.85, gt=0, le=1)
    frozen_blocks: int = Field(0, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    encoder_weight_decay: float | None = Field(None, ge=0)
    epsilon: float = Field(1e-8, gt=0)
    warmup_steps: int = Field(200, ge=0)
    power: float = Field(0.9, gt=0)
    least_rate: float = Field(0.0, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    accumulate: int = Field(1, gt=0)
    only: str | None = None
    patience: int = Field(20, gt=0)

    @model_validator(mode="after")
    def _parts_are_equal(self) -> OptimiserSection:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} cannot be cut into {self.accumulate} equal parts")
        return self


class ValidationSection(_Section):
    """Every ``every`` steps the averaged network is scored on frames of split ``val`` below ``root``, and on all frames
    of the sources ``held_out``; the best weights are kept beside the last ones.
    """

    every: int = Field(gt=0)
    root: Path
    held_out: tuple[str, ...] = ()


class InputSection(_Section):
    """Size of the network's input and canonical focal length in its pixels, where they are not the model's own."""

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    focal: float = Field(gt=0)


class BlendSection(_Section):
    """A run may start between two sets of weights: ``share`` of ``initial_weights`` and the rest of ``weights``, number
    by number (arXiv 2109.01903): what the later stage gained, with the earlier one's steadiness.
    """

    weights: Path
    share: float = Field(gt=0, lt=1)


class TrainConfig(_Section):
    """One training run; ``autocast`` computes the network in bf16, which also AMX-capable CPUs do several times
    faster.

    It starts from random weights, from the encoder of ``initial_encoder``, or from all of ``initial_weights``, which
    may be a published checkpoint. ``compact`` writes the weights in 8 bits instead of 16.
    """

    model: str = "lite"
    initial_encoder: Path | None = None
    initial_weights: Path | None = None
    seed: int = 0
    autocast: bool = True
    compact: bool = False
    checkpoint_every: int = Field(500, gt=0)
    log_every: int = Field(20, gt=0)
    blend: BlendSection | None = None
    input: InputSection | None = None
    validation: ValidationSection | None = None
    data: DataSection
    augment: AugmentSection = Field(default_factory=lambda: AugmentSection.model_validate({}))
    loss: LossSection = Field(default_factory=lambda: LossSection.model_validate({}))
    optimiser: OptimiserSection


def read_config(path: Path) -> TrainConfig:
    """Config of a TOML file; relative paths inside it count from the working directory."""
    with reading(path, "the training config", UsageError):
        content = parse_toml(read_text(path, TOML_BYTES))
    try:
        return TrainConfig.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{path}: {_explain(error)}") from error
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deep") from error


def _explain(error: ValidationError) -> str:
    # A misspelt key also leaves its field missing: the spelling is the cause, so it is reported first.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg']}"
    word, known = str(first["loc"][-1]), _known_keys(first["loc"][:-1])
    close = difflib.get_close_matches(word, sorted(known), n=1)
    if close:
        return f"unknown key {where}, did you mean {close[0]}?"
    homes = [f"[{name}]" for name, section in _SECTIONS.items() if name and word in section.model_fields]
    return f"unknown key {where}" + (f", it belongs under {homes[0]}" if homes else "")


_SECTIONS: Mapping[str, type[_Section]] = {
    "": TrainConfig,
    "blend": BlendSection,
    "input": InputSection,
    "validation": ValidationSection,
    "data": DataSection,
    "augment": AugmentSection,
    "loss": LossSection,
    "optimiser": OptimiserSection,
}
_GROUPS = (SyntheticGroup, ShapesGroup, RgbdGroup, LayoutGroup)


def _known_keys(place: Sequence[int | str]) -> set[str]:
    """The keys of the table at ``place``."""
    if "groups" in place:
        return {name for group in _GROUPS for name in group.model_fields}
    section = next((part for part in reversed(place) if part in _SECTIONS), "")
    return set(_SECTIONS[str(section)].model_fields)
