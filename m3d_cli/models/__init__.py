"""The networks: images in canonical space to canonical depth. What needs torch is loaded when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m3d_cli.models.create import create_model
    from m3d_cli.models.prediction import Prediction
    from m3d_cli.models.weights import load_weights

__all__ = ["Prediction", "create_model", "load_weights"]

_HOMES = {"Prediction": "prediction", "create_model": "create", "load_weights": "weights"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
