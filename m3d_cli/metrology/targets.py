"""Things of known size in a photo, rectangles the user outlined and markers that are found: the planes they lie on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera, FocalSource
from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.metrology.geometry import dimensions
from m3d_cli.metrology.geometry.markers import EDGE_SIGMA, find_markers
from m3d_cli.metrology.geometry.planar_targets import PlanarTarget, TargetPlane, fit_targets
from m3d_cli.metrology.geometry.planes import fit_plane, polygon_region
from m3d_cli.metrology.geometry.scene import ExactPlane
from m3d_cli.metrology.geometry.sides import refined_corners
from m3d_cli.metrology.marker_specs import MarkerSpec
from m3d_cli.metrology.measurands import Rectangle
from m3d_cli.metrology.picks import MeasureError, Pick
from m3d_cli.metrology.request import Request

# The plane of markers; those that lie on others are "markers 2" and so on.
MARKERS = "markers"
# Degrees by which the network's plane must lie nearer to one of two poses to decide between them.
DECISIVE = 10.0


def exact_planes(
    request: Request, image: NDArray[np.uint8] | None, depth: DepthMap, errors: DepthErrorModel
) -> dict[str, ExactPlane]:
    """The planes of the rectangles and markers of a request, by name; raises MeasureError.

    ``image`` (H, W, 3) is what ``depth`` is of, in any size; without it corners stay where they were picked.
    """
    found: dict[str, list[PlanarTarget]] = {}
    for rectangle in request.rectangles:
        found.setdefault(rectangle.name, []).append(_target(rectangle, image, depth.camera))
    planes = {name: _plane(targets, depth, errors) for name, targets in found.items()}
    for spec in request.markers:
        planes |= _marker_planes(spec, image, depth, errors, taken=len(planes))
    return planes


def _target(rectangle: Rectangle, image: NDArray[np.uint8] | None, camera: Camera) -> PlanarTarget:
    pixels = np.array([[pick.u, pick.v] for pick in rectangle.points], dtype=np.float64)
    sigma = rectangle.pick_sigma
    if image is not None and rectangle.is_refined:
        scale = np.array([image.shape[1] / camera.width, image.shape[0] / camera.height])
        exact = refined_corners(image, pixels * scale)
        if exact is not None:
            pixels, sigma = exact / scale, min(sigma, EDGE_SIGMA / float(scale.min()))
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * [rectangle.width, rectangle.height]
    return PlanarTarget(rectangle.name, pixels, corners, sigma, rectangle.tolerance, rectangle.name)


def _marker_planes(
    spec: MarkerSpec, image: NDArray[np.uint8] | None, depth: DepthMap, errors: DepthErrorModel, *, taken: int
) -> dict[str, ExactPlane]:
    if image is None:
        raise MeasureError(
            f"{spec.text}: markers are looked for in the photo, which is not there", hint="give the photo itself"
        )
    scale = np.array([depth.camera.width / image.shape[1], depth.camera.height / image.shape[0]])
    targets = [
        dataclasses.replace(one, pixels=one.pixels * scale, sigma=one.sigma * float(scale.max()))
        for one in find_markers(image, spec)
    ]
    if not targets:
        raise MeasureError(
            f"{spec.text}: no such marker is seen in the photo", hint="check the family, or leave it out"
        )
    planes: dict[str, ExactPlane] = {}
    refusal: MeasureError | None = None
    while targets:
        group = _on_one_plane(targets, depth.camera)
        targets = [one for one in targets if one not in group]
        name = MARKERS if not planes and not taken else f"{MARKERS} {taken + len(planes) + 1}"
        try:
            planes[name] = _plane(group, depth, errors)
        except MeasureError as error:
            # A marker that is bent, half hidden or seen by mistake is left out where others are sound.
            refusal = error
    if not planes and refusal is not None:
        raise refusal
    return planes


def _on_one_plane(targets: Sequence[PlanarTarget], camera: Camera) -> list[PlanarTarget]:
    """All targets where one plane holds them, else those that share the plane of the one seen largest."""
    if len(targets) == 1 or _fits(targets, camera):
        return list(targets)
    ordered = sorted(targets, key=lambda one: -cv2.contourArea(cv2.convexHull(one.pixels.astype(np.float32))))
    group = [ordered[0]]
    for target in ordered[1:]:
        if _fits([*group, target], camera):
            group.append(target)
    return group


def _fits(targets: Sequence[PlanarTarget], camera: Camera) -> bool:
    try:
        _fitted(targets, camera)
    except MeasureError:
        return False
    return True


def _fitted(targets: Sequence[PlanarTarget], camera: Camera) -> TargetPlane:
    is_calibrated = camera.focal_source is FocalSource.CALIBRATION
    return fit_targets(targets, camera, focal_sigma=camera.focal_rel_sigma, is_calibrated=is_calibrated)


def _plane(targets: Sequence[PlanarTarget], depth: DepthMap, errors: DepthErrorModel) -> ExactPlane:
    found = _fitted(targets, depth.camera)
    if found.rival is not None:
        found = _decided(found, found.rival, targets, depth, errors)
    # One place: between several the network's slope would count, which is less certain than neighbours' errors alike.
    middles = np.array([one.pixels.mean(axis=0) for one in targets])
    nearest = middles[np.linalg.norm(middles - middles.mean(axis=0), axis=1).argmin()]
    outlines = tuple(_picks(cv2.convexHull(one.pixels.astype(np.float32))[:, 0]) for one in targets)
    return ExactPlane(found, Pick(float(nearest[0]), float(nearest[1])), outlines)


def _picks(pixels: NDArray[Any]) -> tuple[Pick, ...]:
    return tuple(Pick(float(u), float(v)) for u, v in pixels)


def _decided(
    best: TargetPlane, rival: TargetPlane, targets: Sequence[PlanarTarget], depth: DepthMap, errors: DepthErrorModel
) -> TargetPlane:
    """The pose that the network's depth agrees with; where it favours neither, the better one, unsure by both."""
    hull = cv2.convexHull(np.concatenate([one.pixels for one in targets]).astype(np.float32))[:, 0]
    try:
        seen = fit_plane(depth, polygon_region(depth, hull.astype(np.float64)), errors, targets[0].name)
        apart = [dimensions.between(one.q, seen.q) for one in (best, rival)]
        if abs(apart[0] - apart[1]) >= DECISIVE:
            return best if apart[0] < apart[1] else rival
    except MeasureError:
        pass
    difference = np.array([rival.log_focal - best.log_focal, *(rival.q - best.q)]) / 2
    covariance = best.covariance + np.outer(difference, difference)
    information = np.linalg.pinv(np.linalg.pinv(best.information, hermitian=True) + np.outer(difference, difference))
    return dataclasses.replace(best, covariance=covariance, information=np.asarray(information, dtype=np.float64))
