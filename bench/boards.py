"""Lengths measured on photos of calibration boards against their true lengths: how far off, and how honest.

    python bench/boards.py FOLDER --model lite

FOLDER holds ``index.json``: for each photo the camera (OpenCV's pixel convention), lens distortion, and the board's
points in pixels and in metres. Corner pairs are drawn at random; each is measured as it is, and with one square of the
board as reference, with that reference on the board's plane, with the four corners of one square or tag, and with all
markers found by themselves; the last two also with the focal length withheld. Results go to bench/results/ as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera, Distortion, DistortionModel, FocalSource
from m3d_cli.depthmap import DepthErrorModel, DepthMap
from m3d_cli.inference.device import choose_compute
from m3d_cli.inference.photo import Wanted, to_canonical
from m3d_cli.inference.predictor import Predictor
from m3d_cli.metrology.marker_specs import marker_spec
from m3d_cli.metrology.measurands import Kind, Measurand, Rectangle, Reference
from m3d_cli.metrology.picks import MeasureError, Pick
from m3d_cli.metrology.request import Request
from m3d_cli.metrology.solve import Measurement, solve
from m3d_cli.metrology.targets import MARKERS, exact_planes
from m3d_cli.models.create import load_model
from m3d_cli.models.spec import model_spec
from m3d_cli.photos.decode import decode
from m3d_cli.photos.undistort import undistort, undistorted_camera
from m3d_cli.version import __version__

RESULTS = Path(__file__).parent / "results"
PAIRS = 30
TAGS, CHESSBOARD = "apriltag36h11:0.05", "chessboard:9x6:0.025"
BOARD = "board"
FOCAL_SIGMA = 0.005  # of a calibrated camera
WITHHELD_SIGMA = 0.25  # of an assumed one
WRONG_FOCAL = (0.8, 1.25)  # what a withheld focal length is taken for, in turn


@dataclass(frozen=True, slots=True)
class Board:
    """A photo's camera without distortion, and board points in its pixels and in metres."""

    camera: Camera
    image: NDArray[np.uint8]
    pixels: NDArray[np.float64]
    metres: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FocalResult:
    """A focal length that was withheld: relative error of what came out, and whether two sigma held the truth."""

    error: float
    covered: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One length: relative error, whether the interval held the truth, and the interval's relative width."""

    error: float
    covered: bool
    width: float


def read_board(folder: Path, entry: dict[str, Any]) -> Board:
    matrix = np.array([[entry["fx"], 0, entry["cx"]], [0, entry["fy"], entry["cy"]], [0, 0, 1]])
    camera = Camera.from_opencv(entry["w"], entry["h"], matrix)
    pixels = np.array(entry["points_px"], dtype=np.float64)
    image = decode(folder / entry["file"]).image
    if entry["dist"]:
        lens = Distortion(DistortionModel.BROWN, tuple(entry["dist"]))
        bent = Camera(*(getattr(camera, n) for n in ("width", "height", "fx", "fy", "cx", "cy")), distortion=lens)
        camera = undistorted_camera(bent)
        image = undistort(image, bent)
        straight = cv2.undistortPoints(pixels[:, None], matrix, np.array(entry["dist"]), P=camera.opencv_matrix)
        pixels = straight[:, 0]
    known = camera.with_focal(camera.focal, FocalSource.CALIBRATION, FOCAL_SIGMA)
    return Board(known, image, pixels + 0.5, np.array(entry["points_board_m"], dtype=np.float64))


def one_square(board: Board) -> Reference:
    """The shortest side between two points, nearest the image's middle."""
    middle = np.array([board.camera.width, board.camera.height]) / 2
    apart = np.linalg.norm(board.metres[:, None] - board.metres[None], axis=2)
    shortest = apart[apart > 1e-6].min()
    pairs = np.argwhere(np.triu(np.abs(apart - shortest) < 1e-4, 1))
    centres = board.pixels[pairs].mean(axis=1)
    i, j = pairs[np.linalg.norm(centres - middle, axis=1).argmin()]
    return Reference("square", (pick(board, i), pick(board, j)), float(apart[i, j]), 0.001)


def pick(board: Board, index: int) -> Pick:
    return Pick(*map(float, board.pixels[index]))


def flat(board: Board) -> Measurand:
    """The board as a plane: the outline of its points."""
    outline = cv2.convexHull(board.pixels.astype(np.float32))[:, 0]
    return Measurand(BOARD, Kind.PLANE, tuple(Pick(*map(float, corner)) for corner in outline))


def four_corners(board: Board, side: float, area: float | None = None) -> tuple[int, int, int, int]:
    """Corners of a square of the given side nearest the image's middle; or of the rectangle nearest to an ``area``.

    ``area`` is a share of the image; such rectangles have corners at least ``side`` apart.
    """
    places, middle = board.metres[:, :2], np.array([board.camera.width, board.camera.height]) / 2
    best, found = np.inf, (0, 1, 2, 3)
    for i, start in enumerate(places):
        for width, height in [(side, side)] if area is None else _sizes(places, start, side):
            others = [start + step for step in ((width, 0), (width, height), (0, height))]
            corners = (i, *(int(np.linalg.norm(places - other, axis=1).argmin()) for other in others))
            if max(np.linalg.norm(places[corners[k + 1]] - others[k]) for k in range(3)) > 1e-6:
                continue
            seen = board.pixels[list(corners)]
            if area is None:
                rank = float(np.linalg.norm(seen.mean(axis=0) - middle))
            else:
                share = cv2.contourArea(seen.astype(np.float32)) / (board.camera.width * board.camera.height)
                rank = abs(share - area)
            if rank < best:
                best, found = rank, corners
    return found


def _sizes(places: NDArray[np.float64], start: NDArray[np.float64], least: float) -> list[tuple[float, float]]:
    right = np.unique(np.round(places[np.abs(places[:, 1] - start[1]) < 1e-6, 0] - start[0], 6))
    down = np.unique(np.round(places[np.abs(places[:, 0] - start[0]) < 1e-6, 1] - start[1], 6))
    return [(float(w), float(h)) for w in right[right >= least] for h in down[down >= least]]


def rectangle(board: Board, corners: tuple[int, int, int, int]) -> Rectangle:
    """The rectangle between four points of the board."""
    a, b, c, d = (pick(board, corner) for corner in corners)
    sides = np.linalg.norm(np.diff(board.metres[list(corners)], axis=0), axis=1)
    return Rectangle(BOARD, (a, b, c, d), float(sides[0]), float(sides[1]), 0.001)


def measurands(board: Board, rng: np.random.Generator) -> list[tuple[Measurand, float]]:
    found = []
    for number in range(PAIRS):
        i, j = rng.choice(len(board.pixels), 2, replace=False)
        length = float(np.linalg.norm(board.metres[i] - board.metres[j]))
        found.append((Measurand(str(number), Kind.DISTANCE, (pick(board, i), pick(board, j))), length))
    return found


def score(
    depth: DepthMap,
    lengths: list[tuple[Measurand, float]],
    errors: DepthErrorModel,
    request: Request,
    on: str | None = None,
    image: NDArray[np.uint8] | None = None,
) -> list[Result]:
    """What becomes of ``lengths``, on the plane called ``on``, with all else that ``request`` gives."""
    items = tuple(replace(measurand, on=on) for measurand, _ in lengths)
    solution = solve(depth, replace(request, items=(*items, *request.items)), errors, "board", image=image)
    results = []
    for result, (_, length) in zip(solution.results, lengths, strict=False):
        if isinstance(result, Measurement):
            width = (result.high - result.low) / result.value
            results.append(Result(abs(result.value / length - 1), result.low <= length <= result.high, width))
    return results


def summary(results: list[Result]) -> dict[str, float]:
    errors = [result.error for result in results]
    return {
        "lengths": len(results),
        "median_error": float(np.median(errors)),
        "p90_error": float(np.percentile(errors, 90)),
        "coverage": float(np.mean([result.covered for result in results])),
        "median_interval_width": float(np.median([result.width for result in results])),
    }


def withheld(board: Board, depth: DepthMap, request: Request, wrong: float) -> list[FocalResult]:
    """The focal length that things of known size give, where another one was assumed."""
    camera = board.camera.with_focal(wrong * board.camera.focal, FocalSource.ASSUMED, WITHHELD_SIGMA)
    guessed = DepthMap(depth.depth, camera, depth.confidence)
    results = []
    for plane in exact_planes(request, board.image, guessed, DepthErrorModel()).values():
        apart = plane.found.log_focal + np.log(wrong)
        sigma = float(np.sqrt(plane.found.covariance[0, 0]))
        results.append(FocalResult(float(abs(np.expm1(apart))), abs(apart) <= 1.96 * sigma))
    return results[:1]


def focal_summary(results: list[FocalResult]) -> dict[str, float]:
    errors = [result.error for result in results]
    return {
        "photos": len(results),
        "median_error": float(np.median(errors)),
        "p90_error": float(np.percentile(errors, 90)),
        "coverage": float(np.mean([result.covered for result in results])),
    }


def attempts(
    board: Board,
    depth: DepthMap,
    lengths: list[tuple[Measurand, float]],
    errors: DepthErrorModel,
    spec: str,
    wrong: float,
) -> dict[str, Callable[[], list[Any]]]:
    """Everything that is tried on a photo, by name."""
    ref = one_square(board)
    square = Request(rectangles=(rectangle(board, four_corners(board, ref.length)),))
    sheet = Request(rectangles=(rectangle(board, four_corners(board, ref.length, 1 / 3)),))
    markers = Request(markers=(marker_spec(spec),))
    on_plane = Request((flat(board),), (replace(ref, on=BOARD),))
    return {
        "as_it_is": lambda: score(depth, lengths, errors, Request()),
        "one_length": lambda: score(depth, lengths, errors, Request(references=(ref,))),
        "one_length_on_its_plane": lambda: score(depth, lengths, errors, on_plane, BOARD),
        "four_corners": lambda: score(depth, lengths, errors, square, BOARD, board.image),
        "markers": lambda: score(depth, lengths, errors, markers, MARKERS, board.image),
        "focal_of_four_corners": lambda: withheld(board, depth, square, wrong),
        "focal_of_a_third": lambda: withheld(board, depth, sheet, wrong),
        "focal_of_markers": lambda: withheld(board, depth, markers, wrong),
    }


def run(folder: Path, model: str, weights: Path | None) -> dict[str, Any]:
    spec = model_spec(model)
    predictor = Predictor(load_model(model, weights), spec, choose_compute())
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, list[Any]]] = {}
    for number, entry in enumerate(json.loads((folder / "index.json").read_text())):
        board = read_board(folder, entry)
        lengths = measurands(board, rng)
        photo = to_canonical(board.image, board.camera, spec)
        (depth,) = predictor.predict([photo], Wanted(confidence=True))
        errors = replace(spec.errors, cell=1 / photo.transform.scale)
        kind = found.setdefault("tags" if "tags" in entry else "chessboards", {})
        tries = attempts(
            board, depth, lengths, errors, TAGS if "tags" in entry else CHESSBOARD, WRONG_FOCAL[number % 2]
        )
        for name, attempt in tries.items():
            try:
                kind.setdefault(name, []).extend(attempt())
            except MeasureError as error:
                print(f"{entry['file']}: {name}: {error}")
    return {
        kind: {name: (focal_summary if "focal" in name else summary)(results) for name, results in rows.items()}
        for kind, rows in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="lite")
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    found = {"model": options.model, "m3d": __version__, "commit": commit, "seed": 0, "pairs_a_photo": PAIRS}
    found |= run(options.folder, options.model, options.weights)
    text = json.dumps(found, indent=2)
    (RESULTS / f"boards-{options.model}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
