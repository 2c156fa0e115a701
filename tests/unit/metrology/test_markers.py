"""Markers and boards in pictures rendered from known poses: found by themselves, and their plane is the true one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from m3d_cli.camera import Camera
from m3d_cli.errors import UsageError
from m3d_cli.metrology.geometry.markers import find_markers
from m3d_cli.metrology.geometry.planar_targets import fit_targets
from m3d_cli.metrology.marker_specs import MarkerKind, marker_spec

CAMERA = Camera.centred(1280, 960, 1100.0)
TURN, SHIFT = np.array([0.35, -0.4, 0.1]), np.array([-0.12, -0.09, 0.75])
NORMAL = cv2.Rodrigues(TURN)[0][:, 2]
PLANE = NORMAL / (NORMAL @ SHIFT)


def photo_of(flat, metres_per_pixel):
    """The picture ``flat`` of a board, lying on the plane, as the camera sees it; light is averaged, then coded."""
    scale = np.diag([metres_per_pixel, metres_per_pixel, 1.0])
    rotation = cv2.Rodrigues(TURN)[0]
    fine = np.diag([4.0, 4.0, 1.0]) @ CAMERA.matrix
    view = fine @ np.c_[rotation[:, :2], SHIFT] @ scale @ np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    view = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]]) @ view
    light = cv2.warpPerspective((flat / 255.0).astype(np.float32), view, (1280 * 4, 960 * 4), borderValue=0.7)
    light = cv2.GaussianBlur(cv2.resize(light, (1280, 960), interpolation=cv2.INTER_AREA), (0, 0), 0.8)
    return np.repeat(np.rint(255 * light ** (1 / 2.2)).astype(np.uint8)[..., None], 3, axis=2)


def sheet_of_tags(dictionary, side=60):
    """Tags of 50 mm on white paper, a pixel for each 50 / 60 mm."""
    page = np.full((400, 520), 255, dtype=np.uint8)
    for number, (row, column) in enumerate([(40, 40), (40, 260), (220, 150), (260, 400)]):
        tag = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(dictionary), number, side)
        page[row : row + side, column : column + side] = tag
    return page


@pytest.mark.parametrize(
    ("family", "dictionary"),
    [
        ("apriltag36h11", cv2.aruco.DICT_APRILTAG_36h11),
        ("aruco4x4_50", cv2.aruco.DICT_4X4_50),
        ("ARUCO_6x6_250", cv2.aruco.DICT_6X6_250),
    ],
)
def test_every_marker_is_found_and_their_plane_is_the_true_one(family, dictionary):
    found = find_markers(photo_of(sheet_of_tags(dictionary), 0.05 / 60), marker_spec(f"{family}:0.05"))
    assert sorted(one.name for one in found) == [f"marker {number}" for number in range(4)]
    plane = fit_targets(found, CAMERA, focal_sigma=0.001)
    assert plane.q == pytest.approx(PLANE, rel=0.01)
    assert plane.rms_pixels < 0.2


def test_a_chessboard_is_found_by_its_inner_corners():
    squares = np.kron(np.indices((7, 10)).sum(axis=0) % 2, np.ones((30, 30))) * 255
    page = np.pad(squares, 40, constant_values=255).astype(np.uint8)
    (board,) = find_markers(photo_of(page, 0.025 / 30), marker_spec("chessboard:9x6:0.025"))
    assert fit_targets([board], CAMERA, focal_sigma=0.001).q == pytest.approx(PLANE, rel=0.003)


def test_a_charuco_board_is_found_though_part_of_it_is_hidden():
    spec = marker_spec("charuco:7x5:0.05:0.036")
    board = cv2.aruco.CharucoBoard((7, 5), 0.05, 0.036, cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50))
    image = photo_of(board.generateImage((420, 300)), 0.05 / 60)
    image[:450, :500] = 255
    (found,) = find_markers(image, spec)
    assert 4 <= len(found.pixels) < 24
    assert fit_targets([found], CAMERA, focal_sigma=0.001).q == pytest.approx(PLANE, rel=0.02)


def test_a_photo_without_markers_gives_none():
    empty = np.full((300, 400, 3), 128, dtype=np.uint8)
    for text in ("apriltag36h11:0.05", "chessboard:9x6:0.025", "charuco:7x5:0.05:0.036"):
        assert find_markers(empty, marker_spec(text)) == ()


def test_what_is_asked_for_is_read_from_text():
    spec = marker_spec("charuco:7x5:0.03:0.022:aruco5x5_100")
    assert (spec.kind, spec.columns, spec.rows, spec.size, spec.marker) == (MarkerKind.CHARUCO, 7, 5, 0.03, 0.022)
    assert spec.dictionary == "DICT_5X5_100"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tag:0.05",
        "apriltag36h11",
        "apriltag36h11:0",
        "apriltag36h11:x",
        "apriltag36h11:0.05:1",
        "chessboard:9x6",
        "chessboard:1x6:0.02",
        "chessboard:axb:0.02",
        "charuco:7x5:0.03:0.04",
        "charuco:7x5:0.03",
    ],
)
def test_what_is_none_is_refused_with_examples(text):
    with pytest.raises(UsageError) as caught:
        marker_spec(text)
    assert "chessboard:9x6:0.025" in caught.value.hint
