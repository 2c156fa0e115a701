"""Evaluation protocols by name: which pixels of the true depth count, and how a prediction is brought to them.

Every number stands in the result file. Caps are those of Metric3D's released test configurations, which drop *true*
depth outside them and never clip the prediction.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import DatasetError, UsageError
from m3d_cli.evaluation.alignment import LEAST_DEPTH
from m3d_cli.evaluation.fitting import RESIZE_RULE

UNKNOWN_RULE = "a pixel predicted unknown counts as predicted at the image's largest known depth"
CLIP_RULE = "predictions are not clipped to the range of true depth that counts"
FALLBACK_RULE = (
    f"scale-shift falls back to median where the prediction is constant or the fitted scale is not positive; fitted "
    f"depth below {LEAST_DEPTH:g} m is raised to it"
)
EIGEN = "Eigen et al., arXiv 1406.2283, as coded by those who followed"
GARG = "Garg et al., arXiv 1603.04992, as coded by those who followed"
CONFIGS = "Metric3D's released test configurations"


@dataclass(frozen=True, slots=True)
class Crop:
    """Rows and columns that count, as shares of height and width, cut to whole pixels; or pixels of one size."""

    top: float
    bottom: float
    left: float
    right: float
    size: tuple[int, int] | None = None

    def slices(self, height: int, width: int) -> tuple[slice, slice]:
        """The window in an image of that size; raises DatasetError where the crop belongs to another size."""
        if self.size is None:
            rows, columns = (self.top * height, self.bottom * height), (self.left * width, self.right * width)
            return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))
        if (width, height) != self.size:
            raise DatasetError(
                f"the crop is defined for {self.size[0]} x {self.size[1]} pixels, the truth has {width} x {height}",
                hint="score at the data set's own size, or choose another preset",
            )
        return slice(int(self.top), int(self.bottom)), slice(int(self.left), int(self.right))


@dataclass(frozen=True, slots=True)
class Preset:
    """A protocol: true depth counts inside ``crop`` and strictly between ``nearest`` and ``farthest`` metres.

    ``input_size`` is what the paper fed (width, height); m3d feeds each network its own size, which the result names.
    """

    name: str
    layout: str
    crop: Crop | None
    nearest: float
    farthest: float
    source: str
    input_size: tuple[int, int] = (1064, 616)
    resize: str = RESIZE_RULE
    unknown: str = UNKNOWN_RULE
    clip: str = CLIP_RULE
    fallback: str = FALLBACK_RULE

    def mask(self, truth: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which pixels (H, W) of the true depth count."""
        within: NDArray[np.bool_] = (truth > self.nearest) & (truth < self.farthest)
        if self.crop is None:
            return within
        window = self.crop.slices(*truth.shape)
        mask = np.zeros_like(within)
        mask[window] = within[window]
        return mask

    def describe(self) -> dict[str, object]:
        """The protocol in full, for the result file."""
        return asdict(self)


# Rows 45 to 470 and columns 41 to 600 of 480 x 640: where NYU's depth was projected from the Kinect without its border.
NYU_CROP = Crop(45, 471, 41, 601, size=(640, 480))
KITTI_EIGEN_CROP = Crop(0.3324324, 0.91351351, 0.0359477, 0.96405229)
KITTI_GARG_CROP = Crop(0.40810811, 0.99189189, 0.03594771, 0.96405229)

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("nyu-eigen", "nyu", NYU_CROP, 0.1, 10.0, f"crop: {EIGEN}; cap: {CONFIGS}"),
        Preset("kitti-eigen", "kitti", KITTI_EIGEN_CROP, 0.1, 80.0, f"crop: {EIGEN}; cap: {CONFIGS}"),
        Preset("kitti-garg", "kitti", KITTI_GARG_CROP, 1e-3, 80.0, f"crop and cap: {GARG}"),
        Preset("diode", "diode", None, 0.1, 150.0, f"cap: {CONFIGS}"),
        Preset("eth3d", "eth3d", None, 0.1, 200.0, f"cap: {CONFIGS}"),
        Preset("ibims", "ibims", None, 0.1, 10.0, f"cap: {CONFIGS}"),
        Preset("nuscenes", "nuscenes", None, 0.1, 200.0, f"cap: {CONFIGS}"),
        Preset("scannet", "scannet", None, 0.1, 200.0, f"cap: {CONFIGS}"),
        Preset("7scenes", "7scenes", None, 0.1, 200.0, f"cap: {CONFIGS}"),
    )
}
# Without a preset: every pixel of known depth.
EVERYTHING = Preset("", "", None, 0.0, float("inf"), "every pixel of known depth")


def find_preset(name: str | None) -> Preset:
    """The preset called ``name``; EVERYTHING for none."""
    if name is None:
        return EVERYTHING
    if name not in PRESETS:
        raise UsageError(f"preset {name} is unknown", hint=f"one of {', '.join(PRESETS)}")
    return PRESETS[name]
