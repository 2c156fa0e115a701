"""How a network's errors behave on annotated frames: the numbers that `models/spec.py` keeps and `m3d measure` uses.

python bench/noise.py data/rgbd --sources misc_kinect,uoc_realsense,kitti_object,ddad_dgp:val
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from error_model import fit_confidence, fit_errors, picture_errors

from m3d_cli.datasets.layouts import find_layout
from m3d_cli.datasets.selection import SourceChoice, find_frames
from m3d_cli.inference.device import choose_compute
from m3d_cli.inference.predictor import Predictor, Wanted, to_canonical
from m3d_cli.models.create import load_model
from m3d_cli.models.spec import model_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder in the rgbd layout")
    parser.add_argument("--sources", required=True, help="as in m3d eval")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    print(json.dumps(measured(options), indent=1))


def measured(options: argparse.Namespace) -> dict[str, object]:
    spec = model_spec(options.model)
    predictor = Predictor(load_model(spec.name, options.weights), spec, choose_compute("auto"))
    pictures, confidences, errors = [], [], []
    choices = [SourceChoice.parse(text) for text in options.sources.split(",")]
    for frame in find_frames(find_layout("rgbd"), options.data, choices):
        sample = frame.read()
        photo = to_canonical(sample.photo.image, sample.photo.camera, spec)
        [said] = predictor.predict([photo], Wanted(confidence=True))
        found = picture_errors(said.depth, sample.truth.depth, sample.photo.camera)
        pictures.append(found)
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.log(said.depth.astype(np.float64) / sample.truth.depth) - found.scale
        confidences.append(said.confidence)
        errors.append(np.where(np.isfinite(error), error, np.nan))
    model = replace(fit_errors(pictures), confidence_errors=fit_confidence(confidences, errors))
    return {"images": len(pictures), **asdict(model)}


if __name__ == "__main__":
    main()
