"""A network as one ONNX file: 8-bit RGB values in, canonical depth, confidence and normals out.

The normalisation is part of the graph, the batch size is free, height and width are the network's own. The file says
which network and weights it holds, and is only kept when onnxruntime computes with it what torch computes.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from m3d_cli.atomic import PART, take_name
from m3d_cli.errors import OutputError, UsageError
from m3d_cli.extras import install_hint
from m3d_cli.models.create import open_model
from m3d_cli.models.onnx_file import INPUT, MODEL_KEY, OUTPUTS, WEIGHTS_KEY, data_file, open_session
from m3d_cli.models.own_weights import choose_network, metadata_for
from m3d_cli.models.prediction import Prediction
from m3d_cli.models.spec import ModelSpec

# The largest relative difference of depth, and absolute one of the other outputs, between torch and onnxruntime.
TOLERANCE = 1e-3

# A protobuf message ends at 2 GiB: larger weights go into a file beside it.
ONE_FILE_BYTES = 1_900_000_000


@dataclass(frozen=True, slots=True)
class OnnxReport:
    """An exported file and how far onnxruntime strays from torch on it: depth relative, the others absolute."""

    path: Path
    size: int
    differences: dict[str, float]


def export_onnx(model: nn.Module, spec: ModelSpec, weights_sha256: str, path: Path) -> OnnxReport:
    """Write ``model`` in fp32 to ``path``; raises OutputError when the graph does not compute the same, or UsageError
    where the packages are missing.
    """
    wrapped = _Exportable(model.float().eval(), spec)
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder", hint="make it first")
    with _part_folder(path) as folder:
        part = folder / path.name
        _write(wrapped, spec, weights_sha256, part)
        differences = _compare(wrapped, spec, part)
        worst = max(differences, key=lambda name: differences[name])
        if not differences[worst] <= TOLERANCE:
            raise OutputError(f"{path}: onnxruntime's {worst} differs from torch's by {differences[worst]:.2g}")
        _take_name(part, path)
    return OnnxReport(path, path.stat().st_size, differences)


@contextmanager
def _part_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path``, where the graph can name the file of its weights as it will be called.

    What a killed run left under that name is replaced.
    """
    folder = path.with_name(f".{path.name}{PART}")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir()
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})", hint="check permissions") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Exportable(nn.Module):
    """Images (B, 3, height, width) of 0..255 to the network's outputs, as a tuple."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", 255 * torch.tensor(spec.mean)[:, None, None])
        self.register_buffer("std", 255 * torch.tensor(spec.std)[:, None, None])

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        prediction = self.model((image - self.mean) / self.std)
        assert isinstance(prediction, Prediction)  # noqa: S101 - nn.Module's call is untyped
        return tuple(value for value in _named(prediction).values() if value is not None)


def _named(prediction: Prediction) -> Mapping[str, Tensor | None]:
    return {name: getattr(prediction, name) for name in OUTPUTS}


def _write(wrapped: _Exportable, spec: ModelSpec, weights_sha256: str, part: Path) -> None:
    example = torch.zeros(2, 3, spec.canonical.height, spec.canonical.width)
    with torch.inference_mode():
        prediction = wrapped.model(torch.zeros_like(example[:1]))
    names = [name for name, value in _named(prediction).items() if value is not None]
    size = sum(parameter.numel() * parameter.element_size() for parameter in wrapped.state_dict().values())
    program = _program(wrapped, example, names)
    program.model.metadata_props.update(
        {**metadata_for(spec.name, spec.canonical), MODEL_KEY: spec.name, WEIGHTS_KEY: weights_sha256}
    )
    program.save(str(part), external_data=size > ONE_FILE_BYTES)


def _program(wrapped: _Exportable, example: Tensor, names: list[str]) -> Any:
    try:
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise UsageError("exporting needs onnxscript", hint=install_hint("onnx")) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            wrapped,
            (example,),
            input_names=[INPUT],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )


@torch.inference_mode()
def _compare(wrapped: _Exportable, spec: ModelSpec, path: Path) -> dict[str, float]:
    session = open_session(path, threads=torch.get_num_threads())
    names = [output.name for output in session.get_outputs()]
    worst = dict.fromkeys(names, 0.0)
    for count in (1, 2):
        images = _images(count, spec)
        wanted = [value.numpy() for value in wrapped(torch.from_numpy(images))]
        found = session.run(None, {INPUT: images})
        for name, ours, theirs in zip(names, wanted, found, strict=True):
            scale = np.abs(ours) if name == "depth" else np.float32(1)
            worst[name] = max(worst[name], float(np.max(np.abs(theirs - ours) / scale)))
    return worst


def _images(count: int, spec: ModelSpec) -> NDArray[np.float32]:
    """Smooth random images: a network does on them what it does on photos."""
    rng = np.random.default_rng(count)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 12, 16)).astype(np.float32))
    size = (spec.canonical.height, spec.canonical.width)
    smooth: NDArray[np.float32] = nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 255).numpy()
    return smooth


def _take_name(part: Path, path: Path) -> None:
    """Give the finished file its name; where the weights lie beside it, they come first."""
    try:
        if data_file(part).exists():
            take_name(data_file(part), data_file(path))
        take_name(part, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def export_named(name: str, weights: Path | None, path: Path | None) -> tuple[OnnxReport, dict[str, object]]:
    """Export a network by name to ``path``, by default NAME.onnx; also what a script wants to know of the file.

    Raises WeightsError where its weights are missing or damaged, and as `export_onnx`.
    """
    spec, chosen = choose_network(name, weights)
    chosen.check()
    report = export_onnx(open_model(spec, chosen), spec, chosen.sha256, path or Path(f"{spec.name}.onnx"))
    facts = {"path": str(report.path), "bytes": report.size, "model": spec.name, "weights_sha256": chosen.sha256}
    return report, {**facts, "largest_difference": report.differences}
