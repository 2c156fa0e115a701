"""A network's depth of annotated frames: the one file of this room that needs torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.atomic import write_bytes
from m3d_cli.datasets.frame import Frame
from m3d_cli.errors import DatasetError
from m3d_cli.evaluation.predictions import read_prediction, save_prediction
from m3d_cli.evaluation.scoring import Predict
from m3d_cli.inference.device import choose_compute
from m3d_cli.inference.predictor import Predictor, to_canonical
from m3d_cli.models.create import open_model
from m3d_cli.models.own_weights import choose_network
from m3d_cli.models.registry import ChosenWeights
from m3d_cli.models.spec import ModelSpec

MANIFEST = "m3d-predictions.json"


@dataclass(frozen=True, slots=True)
class Network:
    """A network chosen for a run, not loaded yet."""

    spec: ModelSpec
    weights: ChosenWeights
    device: str = "auto"
    precision: str = "auto"

    @classmethod
    def choose(cls, name: str, weights: Path | None, device: str, precision: str) -> Network:
        """The network called ``name`` with its weights; raises WeightsError where there are none."""
        return cls(*choose_network(name, weights), device, precision)

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height it is fed."""
        return self.spec.canonical.width, self.spec.canonical.height

    def load(self) -> Predict:
        """Load it; the result takes an annotated frame to metric depth (H, W) in metres."""
        compute = choose_compute(self.device, self.precision)
        self.weights.check()
        return predicting(Predictor(open_model(self.spec, self.weights), self.spec, compute))


def predicting(predictor: Predictor) -> Predict:
    """A loaded network as a function of an annotated frame."""

    def predict(frame: Frame) -> NDArray[np.float32]:
        # Normals that nobody asked for need not be readable.
        sample = dataclasses.replace(frame, read_normals=None).read()
        photo = to_canonical(sample.photo.image, sample.photo.camera, predictor.spec)
        return predictor.predict([photo])[0].depth

    return predict


def kept_in(folder: Path, network: Network, layout: str, data: Path) -> Predict:
    """Predictions kept in ``folder``: what is found there is read, and the network only loaded when one is missing.

    Raises DatasetError for a folder of another network's, other weights', another layout's or other ``data``.
    """
    made_by = {"layout": layout, "data": str(data.resolve())}
    _claim(folder, {**made_by, "model": network.spec.label, "weights_sha256": network.weights.sha256})
    return keeping(folder, network.load)


def keeping(folder: Path, load: Callable[[], Predict]) -> Predict:
    """Read a frame's prediction from ``folder``, or make it with what ``load`` gives and keep it there."""
    loaded: list[Predict] = []

    def predict(frame: Frame) -> NDArray[np.float32]:
        file = folder / f"{frame.name}.npy"
        if file.is_file():
            return read_prediction(file)
        if not loaded:
            loaded.append(load())
        depth = loaded[0](frame)
        save_prediction(folder, frame, depth)
        return depth

    return predict


def _claim(folder: Path, made_by: dict[str, str]) -> None:
    """Note in ``folder`` what its predictions are made by, or check that it says the same."""
    manifest = folder / MANIFEST
    wanted = json.dumps(made_by, indent=2) + "\n"
    if not manifest.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise DatasetError(f"{folder}: holds files of another kind", hint="name an empty or a new folder")
        write_bytes(manifest, wanted.encode())
        return
    if manifest.read_text(encoding="utf-8") != wanted:
        raise DatasetError(f"{folder}: holds predictions made otherwise", hint=f"see {manifest}; name another folder")
