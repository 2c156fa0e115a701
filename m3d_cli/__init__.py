"""m3d: ordinary photos into metric 3-D, with Metric3D's canonical camera space.

The Python API is loaded on first use: importing the package loads neither numpy nor torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from m3d_cli.version import __version__ as __version__

if TYPE_CHECKING:
    from m3d_cli.api import Cloud as Cloud
    from m3d_cli.api import Model as Model
    from m3d_cli.api import PredictedDepth as PredictedDepth
    from m3d_cli.api import load_depth as load_depth
    from m3d_cli.api import load_model as load_model
    from m3d_cli.api import load_photo as load_photo
    from m3d_cli.api import measure as measure
    from m3d_cli.api import run as run
    from m3d_cli.camera import Camera as Camera
    from m3d_cli.depthmap import DepthMap as DepthMap
    from m3d_cli.errors import M3dError as M3dError
    from m3d_cli.photo import Photo as Photo
    from m3d_cli.pointcloud import PointCloud as PointCloud

_HOMES = {
    "Camera": "camera",
    "DepthMap": "depthmap",
    "M3dError": "errors",
    "Photo": "photo",
    "PointCloud": "pointcloud",
    **dict.fromkeys(
        ("Cloud", "Model", "PredictedDepth", "load_depth", "load_model", "load_photo", "measure", "run"), "api"
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted((*globals(), *_HOMES))
