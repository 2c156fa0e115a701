"""Markers and boards found by themselves in a photo: AprilTag, ArUco, ChArUco and chessboards (OpenCV's detectors)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import OPENCV_OFFSET
from m3d_cli.metrology.geometry.planar_targets import PlanarTarget
from m3d_cli.metrology.geometry.sides import refined_corners, saddle_points
from m3d_cli.metrology.marker_specs import MarkerKind, MarkerSpec

# Standard deviations in pixels of a corner where two fitted edges meet, of a chessboard's saddle point, and of a corner
# that only the detector placed.
EDGE_SIGMA, SADDLE_SIGMA, DETECTED_SIGMA = 0.3, 0.2, 1.0
# Relative standard deviation of what a printer makes of a size.
PRINTED_TOLERANCE = 0.003
_SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def find_markers(image: NDArray[np.uint8], spec: MarkerSpec) -> tuple[PlanarTarget, ...]:
    """What of ``spec`` is seen in ``image`` (H, W, 3), upright and undistorted: one target for each marker or board."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    if spec.kind is MarkerKind.CHESSBOARD:
        return _chessboard(grey, spec)
    if spec.kind is MarkerKind.CHARUCO:
        return _charuco(grey, spec)
    return _markers(grey, spec)


def _markers(grey: NDArray[np.uint8], spec: MarkerSpec) -> tuple[PlanarTarget, ...]:
    detector = cv2.aruco.ArucoDetector(_opencv_dictionary(spec), _parameters())
    corners, ids, _ = detector.detectMarkers(grey)
    found = []
    for number, seen in zip(np.ravel(ids) if ids is not None else (), corners, strict=True):
        rough = np.asarray(seen, dtype=np.float64).reshape(4, 2) + OPENCV_OFFSET
        exact = refined_corners(grey, rough, is_dark_inside=True)
        pixels, sigma = (rough, DETECTED_SIGMA) if exact is None else (exact, EDGE_SIGMA)
        name = f"marker {number}"
        found.append(PlanarTarget(name, pixels, _SQUARE * spec.size, sigma, PRINTED_TOLERANCE, spec.text))
    return tuple(found)


def _charuco(grey: NDArray[np.uint8], spec: MarkerSpec) -> tuple[PlanarTarget, ...]:
    board = cv2.aruco.CharucoBoard((spec.columns, spec.rows), spec.size, spec.marker, _opencv_dictionary(spec))
    detector = cv2.aruco.CharucoDetector(board, detectorParams=_parameters())
    corners, ids, _, _ = detector.detectBoard(grey)
    if ids is None or len(ids) < 4:
        return ()
    places = np.asarray(board.getChessboardCorners(), dtype=np.float64)[np.ravel(ids), :2]
    pixels = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
    return (PlanarTarget("board", pixels + OPENCV_OFFSET, places, SADDLE_SIGMA, PRINTED_TOLERANCE, spec.text),)


def _chessboard(grey: NDArray[np.uint8], spec: MarkerSpec) -> tuple[PlanarTarget, ...]:
    is_found, corners = cv2.findChessboardCorners(grey, (spec.columns, spec.rows))
    if not is_found:
        return ()
    rough = np.asarray(corners, dtype=np.float64).reshape(-1, 2) + OPENCV_OFFSET
    apart = np.linalg.norm(np.diff(rough.reshape(spec.rows, spec.columns, 2), axis=1), axis=2).min()
    rows, columns = np.mgrid[: spec.rows, : spec.columns]
    places = np.stack([columns.ravel(), rows.ravel()], axis=1) * spec.size
    pixels = saddle_points(grey, rough, float(apart))
    return (PlanarTarget("board", pixels, places, SADDLE_SIGMA, PRINTED_TOLERANCE, spec.text),)


def _parameters() -> cv2.aruco.DetectorParameters:
    """OpenCV's own, with cells read by more pixels and only in their middle: small or blurred markers stay readable."""
    parameters = cv2.aruco.DetectorParameters()
    parameters.perspectiveRemovePixelPerCell = 8
    parameters.perspectiveRemoveIgnoredMarginPerCell = 0.25
    parameters.adaptiveThreshWinSizeMax, parameters.adaptiveThreshWinSizeStep = 53, 10
    return parameters


def _opencv_dictionary(spec: MarkerSpec) -> cv2.aruco.Dictionary:
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, spec.dictionary))
