"""The predictor on an exported graph, run by OpenVINO on a CPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m3d_cli.bounded_files import reading
from m3d_cli.errors import UsageError, WeightsError
from m3d_cli.extras import install_hint
from m3d_cli.inference.device import Compute
from m3d_cli.inference.photo import CanonicalPhoto
from m3d_cli.inference.predictor import Predictor
from m3d_cli.models.onnx_file import OPENVINO, as_input, check_graph, named_model
from m3d_cli.models.prediction import Prediction
from m3d_cli.models.spec import ModelSpec

# How OpenVINO names number formats.
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoPredictor(Predictor):
    """Like `Predictor`, but the network is the graph in ``path``; ``streams`` photos at once, ``threads`` for each."""

    backend = OPENVINO

    def __init__(
        self, path: Path, spec: ModelSpec, compute: Compute, batch_size: int = 1, streams: int = 1, threads: int = 1
    ) -> None:
        if compute.precision not in _PRECISIONS:
            raise UsageError(f"OpenVINO computes in fp32 or bf16, not {compute.precision}", hint="--precision fp32")
        super().__init__(nn.Identity(), spec, compute, batch_size)
        settings = {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams * threads,
            "INFERENCE_PRECISION_HINT": _PRECISIONS[compute.precision],
        }
        with reading(path, "the ONNX file", WeightsError):
            self._compiled = _compiled(path, settings)
            _, *shape = self._compiled.input(0).partial_shape
            check_graph(path, named_model(path), [side.get_length() for side in shape], spec)
            self._names = [output.get_any_name() for output in self._compiled.outputs]
        self._thread = threading.local()

    def _forward(self, photos: Sequence[CanonicalPhoto]) -> Prediction:
        # A request is one thread's; the streams behind them are shared.
        if not hasattr(self._thread, "request"):
            self._thread.request = self._compiled.create_infer_request()
        answer = self._thread.request.infer([as_input([photo.pixels for photo in photos])])
        return Prediction.named({name: torch.from_numpy(answer[name]) for name in self._names})


def _compiled(path: Path, settings: dict[str, Any]) -> Any:
    try:
        import openvino
    except ImportError as error:
        raise UsageError("--backend openvino needs OpenVINO", hint=install_hint("openvino")) from error
    return openvino.Core().compile_model(str(path), "CPU", settings)
