"""A sequence with poses made one surface: fusion of all frames, and their scales refined against what they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import DatasetError
from m3d_cli.formats.surface import Surface
from m3d_cli.sequences.frames import View
from m3d_cli.sequences.fusion import Fusion, FusionOptions
from m3d_cli.sequences.poses import PosedFrames
from m3d_cli.synthesis.raycast import RayCaster

# Rounds of fusing and fitting each frame's scale to the surface; the surface of a round is made of coarser voxels.
ROUNDS = 2
COARSER = 2.0
# Pixels of a frame whose depth is compared with the surface, at most, and at least for its scale to be judged.
COMPARED = 4000
FEWEST_COMPARED = 200
# Scales farther from 1 than this factor are no refinement but a frame that does not belong.
LARGEST_CHANGE = 2.0

Advance = Callable[[], None]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The surface, how many frames it is made of, and by what factor the depth of each frame was multiplied."""

    surface: Surface
    frames: int
    scales: NDArray[np.float64]


def reconstruct(
    posed: PosedFrames,
    options: FusionOptions,
    longest: int,
    *,
    refine: bool,
    scale: float = 1.0,
    advance: Advance = lambda: None,
) -> Scene:
    """The surface that the frames show, their depth multiplied by ``scale``.

    With ``refine`` each frame's depth first gets the scale that fits the others; what these have in common stays, as
    surfaces hardly tell it. Raises DatasetError where nothing can be fused. Frames are read one at a time, once a round
    and once for the result.
    """
    scales = np.full(len(posed.frames), scale)
    if refine:
        coarse = dataclasses.replace(options, voxel=options.voxel * COARSER)
        for _ in range(ROUNDS):
            fusion, _ = _fused(posed, coarse, longest, scales, lambda: None)
            scales = refined_scales(posed, fusion.surface(), scales, options.max_depth, longest)
    fusion, frames = _fused(posed, options, longest, scales, advance)
    surface = fusion.surface()
    if not len(surface.triangles):
        raise DatasetError(
            f"no surface was seen by {options.fewest_views} of {len(posed.frames)} frames",
            hint="check poses and depth; --max-depth reaches further, --views 1 takes what one frame saw",
        )
    return Scene(surface, frames, scales)


def refined_scales(
    posed: PosedFrames, surface: Surface, scales: NDArray[np.float64], max_depth: float, longest: int
) -> NDArray[np.float64]:
    """The factor (N,) for the depth of each frame that lays it on the surface, their geometric mean unchanged.

    Where too little is seen a frame keeps its own.
    """
    if not len(surface.triangles):
        return scales
    caster = RayCaster(surface.corners.points, surface.triangles)
    found = scales.copy()
    for index, (frame, pose) in enumerate(zip(posed.frames, posed.trajectory.poses, strict=True)):
        ratio = _ratio(caster, frame.view(longest), pose, max_depth)
        if ratio is not None and 1 / LARGEST_CHANGE < ratio < LARGEST_CHANGE:
            found[index] = ratio
    # Rays meet the nearest surface first, so every round would pull all frames a little nearer: their mean stays.
    return np.asarray(found * np.exp(np.log(scales).mean() - np.log(found).mean()))


def scaled(view: View, scale: float) -> View:
    """The view with its depth multiplied."""
    depth = (view.depth.depth * np.float32(scale)).astype(np.float32)
    return dataclasses.replace(view, depth=dataclasses.replace(view.depth, depth=depth))


def _fused(
    posed: PosedFrames, options: FusionOptions, longest: int, scales: NDArray[np.float64], advance: Advance
) -> tuple[Fusion, int]:
    fusion, count = Fusion(options), 0
    for frame, pose, scale in zip(posed.frames, posed.trajectory.poses, scales, strict=True):
        count += fusion.add(scaled(frame.view(longest), float(scale)), pose) > 0
        advance()
    return fusion, count


def _ratio(caster: RayCaster, view: View, pose: NDArray[np.float64], max_depth: float) -> float | None:
    """Median of surface depth over frame depth; None where too few pixels see both."""
    depth = view.depth.depth
    step = max(1, round((depth.size / COMPARED) ** 0.5))
    grid = (slice(step // 2, None, step),) * 2
    own = depth[grid].ravel()
    directions = view.depth.camera.rays()[grid].reshape(-1, 3) @ pose[:3, :3].T.astype(np.float32)
    rays = np.concatenate([np.broadcast_to(pose[:3, 3].astype(np.float32), directions.shape), directions], axis=1)
    # Directions have z = 1 in the camera, so distances along them are depth.
    shared = caster.cast(rays).distance
    with np.errstate(invalid="ignore"):
        counts = np.isfinite(shared) & (own > 0) & (own <= max_depth)
    if counts.sum() < FEWEST_COMPARED:
        return None
    return float(np.exp(np.median(np.log(shared[counts] / own[counts]))))
