"""The predictor on an exported ONNX file, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from m3d_cli.bounded_files import reading
from m3d_cli.errors import UsageError, WeightsError
from m3d_cli.inference.device import Compute
from m3d_cli.inference.photo import CanonicalPhoto
from m3d_cli.inference.predictor import Predictor
from m3d_cli.models.onnx_file import INPUT, ONNX, as_input, check_graph, name_in, open_session
from m3d_cli.models.prediction import Prediction
from m3d_cli.models.spec import ModelSpec

PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}


class OnnxPredictor(Predictor):
    """Like `Predictor`, but the network is the graph in ``path``; ``threads`` are onnxruntime's for one image."""

    backend = ONNX

    def __init__(self, path: Path, spec: ModelSpec, compute: Compute, batch_size: int = 1, threads: int = 1) -> None:
        if compute.precision != "fp32":
            raise UsageError(f"ONNX files compute in fp32, not {compute.precision}", hint="leave --precision out")
        if compute.device.type not in PROVIDERS:
            raise UsageError(f"ONNX files do not run on {compute.device}", hint="--device cpu or cuda")
        super().__init__(nn.Identity(), spec, compute, batch_size)
        self._session = open_session(path, threads, PROVIDERS[compute.device.type])
        with reading(path, "the ONNX graph", WeightsError):
            check_graph(path, name_in(self._session), self._session.get_inputs()[0].shape[1:], spec)
            self._names = [output.name for output in self._session.get_outputs()]

    def _forward(self, photos: Sequence[CanonicalPhoto]) -> Prediction:
        values = self._session.run(None, {INPUT: as_input([photo.pixels for photo in photos])})
        return Prediction.named({name: torch.from_numpy(v) for name, v in zip(self._names, values, strict=True)})
