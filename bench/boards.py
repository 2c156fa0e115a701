"""Lengths measured on photos of calibration boards against their true lengths: how far off, and how honest.

    python bench/boards.py FOLDER --model lite

FOLDER holds ``index.json``: for each photo the camera (OpenCV's pixel convention), lens distortion, and the board's
points in pixels and in metres. Corner pairs are drawn at random; each is measured as it is, and with one square of the
board as reference, and with that reference on the board's plane. Results go to bench/results/ as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
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
from m3d_cli.metrology.measurands import Kind, Measurand, Reference
from m3d_cli.metrology.picks import MeasureError, Pick
from m3d_cli.metrology.request import Request
from m3d_cli.metrology.solve import Measurement, solve
from m3d_cli.models.create import load_model
from m3d_cli.models.spec import model_spec
from m3d_cli.photos.decode import decode
from m3d_cli.photos.undistort import undistort, undistorted_camera
from m3d_cli.version import __version__

RESULTS = Path(__file__).parent / "results"
PAIRS = 30
BOARD = "board"
FOCAL_SIGMA = 0.005  # of a calibrated camera


@dataclass(frozen=True, slots=True)
class Board:
    """A photo's camera without distortion, and board points in its pixels and in metres."""

    camera: Camera
    image: NDArray[np.uint8]
    pixels: NDArray[np.float64]
    metres: NDArray[np.float64]


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
    *refs: Reference,
    plane: Measurand | None = None,
) -> list[Result]:
    items = [measurand if plane is None else replace(measurand, on=BOARD) for measurand, _ in lengths]
    refs = tuple(ref if plane is None else replace(ref, on=BOARD) for ref in refs)
    request = Request((*items, *([plane] if plane else [])), refs)
    results = []
    for result, (_, length) in zip(solve(depth, request, errors, "board").results, lengths, strict=False):
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


def run(folder: Path, model: str, weights: Path | None) -> dict[str, Any]:
    spec = model_spec(model)
    predictor = Predictor(load_model(model, weights), spec, choose_compute())
    rng = np.random.default_rng(0)
    plain: list[Result] = []
    scaled: list[Result] = []
    on_plane: list[Result] = []
    photos = 0
    for entry in json.loads((folder / "index.json").read_text()):
        board = read_board(folder, entry)
        lengths = measurands(board, rng)
        photo = to_canonical(board.image, board.camera, spec)
        (depth,) = predictor.predict([photo], Wanted(confidence=True))
        errors = replace(spec.errors, cell=1 / photo.transform.scale)
        try:
            plain += score(depth, lengths, errors)
            scaled += score(depth, lengths, errors, one_square(board))
            on_plane += score(depth, lengths, errors, one_square(board), plane=flat(board))
        except MeasureError as error:
            print(f"{entry['file']}: {error}")
            continue
        photos += 1
    return {
        "photos": photos,
        "as_it_is": summary(plain),
        "with_one_square": summary(scaled),
        "with_one_square_on_its_plane": summary(on_plane),
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
