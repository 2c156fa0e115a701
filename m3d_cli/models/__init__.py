"""The networks: pictures in canonical space to canonical depth."""

from m3d_cli.models.create import create_model
from m3d_cli.models.prediction import Prediction
from m3d_cli.models.weights import load_weights

__all__ = ["Prediction", "create_model", "load_weights"]
