"""Focal lengths from lines, on drawings of a room whose camera is known."""

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from m3d_cli.intrinsics.vanishing_points import focal_of_lines

SIZE = (960, 720)


def room(ratio: float, yaw: float = 40, pitch: float = -28, roll: float = 4) -> NDArray[np.uint8]:
    """Lattices on two walls and the floor of a corner, seen by a camera of ``ratio`` focal length over diagonal."""
    focal = ratio * math.hypot(*SIZE)
    turn = rotation(0, 0, roll) @ rotation(pitch, 0, 0) @ rotation(0, yaw, 0)
    picture = np.full((SIZE[1], SIZE[0], 3), 235, dtype=np.uint8)
    reach = np.linspace(0, 3, 10)
    axes = np.eye(3)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        for at in reach:
            for along, across in ((first, second), (second, first)):
                ends = np.array([at * axes[across], at * axes[across] + 3 * axes[along]])
                draw(picture, ends, turn, focal)
    return picture


def rotation(x: float, y: float, z: float) -> NDArray[np.float64]:
    return np.asarray(cv2.Rodrigues(np.radians([x, y, z]))[0], dtype=np.float64)


def draw(picture: NDArray[np.uint8], ends: NDArray[np.float64], turn: NDArray[np.float64], focal: float) -> None:
    # The corner lies in front of the camera, its walls running towards it.
    points = (ends - 1.5) * (1, -1, -1) @ turn.T + (0, 0, 6 * focal / 1200 + 1)
    pixels = points[:, :2] / points[:, 2:] * focal + np.array(SIZE) / 2
    start, end = (tuple(round(float(c) * 16) for c in pixel) for pixel in pixels)
    cv2.line(picture, start, end, (40, 60, 70), 2, cv2.LINE_AA, 4)


@pytest.mark.parametrize("ratio", [0.6, 0.85, 1.3])
def test_three_square_directions_tell_the_focal_length(ratio: float) -> None:
    found = focal_of_lines(room(ratio))
    assert found is not None
    assert abs(math.log(found.ratio / ratio)) < 2 * found.sigma
    assert found.ratio == pytest.approx(ratio, rel=0.06)
    assert found.lines > 24


def test_lines_that_run_one_way_tell_nothing() -> None:
    picture = np.full((SIZE[1], SIZE[0], 3), 235, dtype=np.uint8)
    picture[:, ::24] = 40
    assert focal_of_lines(picture) is None


def test_a_wall_seen_square_on_tells_nothing() -> None:
    picture = np.full((SIZE[1], SIZE[0], 3), 235, dtype=np.uint8)
    picture[:, ::40] = 40
    picture[::40] = 40
    assert focal_of_lines(picture) is None


@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 3, 3), (480, 640, 3)])
def test_a_picture_without_lines_tells_nothing(shape: tuple[int, int, int]) -> None:
    assert focal_of_lines(np.full(shape, 127, dtype=np.uint8)) is None


def test_noise_tells_nothing() -> None:
    rng = np.random.default_rng(0)
    assert focal_of_lines(rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)) is None
