"""What runs a network: torch, or an exported graph in onnxruntime or OpenVINO; and the graphs kept for that."""

from __future__ import annotations

import importlib.util
import logging
import time
from pathlib import Path

from filelock import FileLock

from m3d_cli.errors import UsageError
from m3d_cli.extras import install_hint
from m3d_cli.inference.device import Compute
from m3d_cli.models.create import open_model
from m3d_cli.models.onnx_file import ONNX, OPENVINO, SUFFIX, TORCH, check_backend, named_model
from m3d_cli.models.registry import ChosenWeights
from m3d_cli.models.spec import ModelSpec
from m3d_cli.models.store import cache_folder, file_name
from m3d_cli.version import __version__

logger = logging.getLogger(__name__)

# From how many photos on OpenVINO is worth its start on a CPU (bench/backends.py): the time that makes the graph, half
# a minute or two, is repaid by then. Networks for which no gain was measured are not named.
LONG_RUN = {"lite": 1000, "convnext-tiny": 200, "vit-small": 400}

_PACKAGES = {ONNX: "onnxruntime", OPENVINO: "openvino"}


def choose_backend(asked: str, spec: ModelSpec, weights: ChosenWeights, compute: Compute, photos: int) -> str:
    """What computes a run of ``photos``; ``auto`` takes the fastest that is installed and pays.

    It depends on the planned total only, never on what is left, so that a resumed run gives the same bytes. Raises
    UsageError for a backend that is not installed or does not fit.
    """
    check_backend(asked, weights.path)
    is_graph = weights.path is not None and weights.path.suffix == SUFFIX
    if asked == "auto":
        return _fastest(spec, compute, photos, is_graph=is_graph)
    if asked != TORCH and not is_installed(asked):
        raise UsageError(f"--backend {asked} needs {_PACKAGES[asked]}", hint=install_hint(asked))
    if asked == OPENVINO and compute.device.type != "cpu":
        raise UsageError(f"--backend {OPENVINO} computes on the CPU, not on {compute.device}", hint="--device cpu")
    return asked


def is_installed(backend: str) -> bool:
    """Whether its package is there."""
    return backend == TORCH or importlib.util.find_spec(_PACKAGES[backend]) is not None


def graph_of(spec: ModelSpec, weights: ChosenWeights) -> Path:
    """The exported graph of the weights: themselves where they are one, else made once and kept in the cache."""
    if weights.path is not None and weights.path.suffix == SUFFIX:
        return weights.path
    folder = cache_folder() / "graphs"
    path = folder / file_name(f"{spec.name}-m3d{__version__}", weights.sha256, SUFFIX)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        # One of another network can only be a name that was moved here by hand.
        if named_model(path) != spec.name:
            _export(spec, weights, path)
    return path


def _export(spec: ModelSpec, weights: ChosenWeights, path: Path) -> None:
    from m3d_cli.models.onnx_export import export_onnx

    begin = time.monotonic()
    export_onnx(open_model(spec, weights), spec, weights.sha256, path)
    logger.info("graph of %s made in %.0f s, kept as %s", spec.name, time.monotonic() - begin, path)


def _fastest(spec: ModelSpec, compute: Compute, photos: int, *, is_graph: bool) -> str:
    is_on_cpu = compute.device.type == "cpu"
    if is_graph:
        return OPENVINO if is_on_cpu and is_installed(OPENVINO) else ONNX
    pays = is_on_cpu and photos >= LONG_RUN.get(spec.name, photos + 1)
    can_export = importlib.util.find_spec("onnxscript") is not None
    return OPENVINO if pays and can_export and is_installed(OPENVINO) else TORCH
