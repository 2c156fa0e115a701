"""Whose weights a run uses, and what is known of them: the published ones have figures, others what they state.

Only the bytes of a published file carry its measured errors, accuracy and licence. A file that m3d wrote states the
network and the canonical camera it was trained for. Loads no torch.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3d_cli.bounded_files import reading
from m3d_cli.canonical import CanonicalSpec
from m3d_cli.depthmap import DepthErrorModel
from m3d_cli.errors import WeightsError
from m3d_cli.models.onnx_file import MODEL_KEY, SUFFIX, WEIGHTS_KEY, metadata_of
from m3d_cli.models.registry import (
    BEST_DEFAULT,
    BUNDLED,
    BUNDLED_DEFAULT,
    PUBLISHED,
    ChosenWeights,
    choose_weights,
    default_model,
    seeded_sha256,
)
from m3d_cli.models.spec import ModelSpec, model_spec
from m3d_cli.photo_names import one_line
from m3d_cli.reporter import Reporter

# Metadata of a file: the network's name; focal length in pixels, height and width of its canonical camera. One entry,
# since the order of several is random in safetensors, and equal work gives equal bytes.
NETWORK_KEY = "m3d:network"
# Bytes of the JSON header of a safetensors file; ours have some ten thousand.
MOST_HEADER_BYTES = 16_000_000
LENGTH_BYTES = 8
# Sides and focal lengths, in pixels, beyond which no canonical camera is.
MOST_PIXELS = 10_000

UNKNOWN_ERRORS = DepthErrorModel(errors_known=False)


def choose_network(name: str, local: Path | None = None) -> tuple[ModelSpec, ChosenWeights]:
    """A network with the weights of a file, else the installed or bundled ones, and what is known of it with these.

    Raises UsageError for an unknown name, WeightsError where there are no weights.
    """
    spec = model_spec(name)
    chosen = choose_weights(spec, local)
    return with_weights(spec, chosen), chosen


def with_weights(spec: ModelSpec, chosen: ChosenWeights) -> ModelSpec:
    """The spec of a network with these weights: others than the published ones have their name and no figures."""
    if chosen.path is None or is_published(spec.name, chosen.sha256):
        return spec
    stated = stated_by(chosen.path)
    if is_published(spec.name, stated.get(WEIGHTS_KEY, "")):
        return spec  # a graph that m3d exported from the published weights
    return dataclasses.replace(
        spec,
        canonical=_canonical(spec.canonical, stated),
        licence="as you have it",
        origin=str(chosen.path),
        accuracy="not measured",
        weak_at="unknown",
        errors=UNKNOWN_ERRORS,
        weights_name=one_line(chosen.path.name),
    )


def is_published(model: str, sha256: str) -> bool:
    """Whether these are the bytes that come with m3d or that the network's authors publish.

    The random numbers of a test network are its published ones.
    """
    known = [table[model].sha256 for table in (BUNDLED, PUBLISHED) if model in table]
    return sha256 in known or (model_spec(model).hidden and sha256 == seeded_sha256(model))


def stated_by(path: Path | None) -> Mapping[str, str]:
    """What a graph or safetensors file states of itself; empty where it states nothing or is something else."""
    if path is None:
        return {}
    return metadata_of(path) if path.suffix == SUFFIX else _safetensors_metadata(path)


def metadata_for(model: str, canonical: CanonicalSpec) -> dict[str, str]:
    """What a safetensors file of a trained network states of itself."""
    camera = {"focal": canonical.focal, "height": canonical.height, "width": canonical.width}
    return {NETWORK_KEY: json.dumps({"model": model, **camera})}


def _safetensors_metadata(path: Path) -> dict[str, str]:
    """The strings in a safetensors file's header: eight bytes of its length, then JSON."""
    try:
        with reading(path, "the header", WeightsError), path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if not 0 < length <= MOST_HEADER_BYTES:
                return {}
            found = json.loads(file.read(length)).get("__metadata__", {})
            return {key: value for key, value in found.items() if isinstance(value, str)}
    except WeightsError:
        return {}  # what is wrong with it is reported when its tensors are read


def _network(stated: Mapping[str, str]) -> Mapping[str, object]:
    try:
        network = json.loads(stated.get(NETWORK_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return network if isinstance(network, dict) else {}


def _canonical(usual: CanonicalSpec, stated: Mapping[str, str]) -> CanonicalSpec:
    camera: Mapping[str, Any] = _network(stated)
    try:
        focal, height, width = float(camera["focal"]), int(camera["height"]), int(camera["width"])
    except (KeyError, ValueError, TypeError, OverflowError):
        return usual
    if not all(math.isfinite(n) and 0 < n <= MOST_PIXELS for n in (focal, height, width)):
        return usual
    return dataclasses.replace(usual, focal=focal, height=height, width=width)


def notice_of(spec: ModelSpec, chosen: ChosenWeights) -> str:
    """What a person should be told of weights that nobody measured; empty for the published ones."""
    if not spec.weights_name or chosen.path is None:
        return ""
    camera = "" if NETWORK_KEY in stated_by(chosen.path) else f"; its canonical camera is taken to be {spec.name}'s"
    return f"network: {spec.name} with {chosen.path}, whose errors were not measured{camera}"


def chosen_name(name: str | None, weights: Path | None) -> tuple[str, str]:
    """The network named, that which a file of weights states, or the default; and a notice of a better default."""
    stated = stated_by(weights)
    if named := name or stated.get(MODEL_KEY) or _network(stated).get("model"):
        return str(named), ""
    if weights is not None:
        return default_model(), ""
    chosen = default_model()
    if chosen != BUNDLED_DEFAULT:
        return chosen, ""
    return chosen, f"network: {chosen}, small and bundled; m3d weights pull {BEST_DEFAULT} installs a stronger one"


def announced_name(name: str | None, weights: Path | None, report: Reporter) -> str:
    """`chosen_name`, its notice reported."""
    chosen, notice = chosen_name(name, weights)
    if notice:
        report.say(notice)
    return chosen


def announced_network(name: str | None, weights: Path | None, report: Reporter) -> tuple[ModelSpec, ChosenWeights]:
    """`choose_network` of `chosen_name`, with what should be known of weights that are not the published ones."""
    spec, chosen = choose_network(announced_name(name, weights, report), weights)
    if notice := notice_of(spec, chosen):
        report.warn(notice)
    return spec, chosen
