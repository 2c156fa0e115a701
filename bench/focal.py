"""How far the focal length that an image tells is off: on annotated frames and crops of them, and on tagged photos.

    python bench/focal.py --frames data/rgbd --sources misc_kinect,uoc_realsense,kitti_object,ddad_dgp:val \\
        --photos photos

``stated`` is the spread of the head's errors over the one it states, before its evidence is weakened and the prior of
photos is put in: what `inference.picture_focal.EVIDENCE` comes from.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import FocalSource
from m3d_cli.datasets.layouts import find_layout
from m3d_cli.datasets.selection import SourceChoice, find_frames
from m3d_cli.errors import M3dError
from m3d_cli.inference import picture_focal
from m3d_cli.inference.device import choose_compute
from m3d_cli.inference.picture_focal import PictureFocal
from m3d_cli.intrinsics.estimated import FocalOpinion
from m3d_cli.photos.decode import decode
from m3d_cli.photos.discover import Selection, discover
from m3d_cli.photos.load import read_facts

CROPS = 3
DEEPEST = 2.2
ASPECTS = (0.7, 1.8)
LEAST_ROWS = 100
# Photos whose 35 mm equivalent is plausible, in mm.
PLAUSIBLE = (8.0, 400.0)

Picture = NDArray[np.uint8]


def frames(root: Path, sources: str) -> Iterator[tuple[Picture, float]]:
    """Each frame whole and in central crops of random depth and shape, with its focal length in pixels."""
    rng = np.random.default_rng(0)
    for frame in find_frames(find_layout("rgbd"), root, [SourceChoice.parse(one) for one in sources.split(",")]):
        sample = frame.read()
        image, focal = sample.photo.image, sample.photo.camera.focal
        yield image, focal
        for _ in range(CROPS):
            zoom = math.exp(rng.uniform(0, math.log(DEEPEST)))
            aspect = math.exp(rng.uniform(*np.log(ASPECTS)))
            width = int(image.shape[1] / zoom)
            height = min(image.shape[0], int(width / aspect))
            if height >= LEAST_ROWS:
                top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
                yield np.ascontiguousarray(image[top : top + height, left : left + width]), focal


def photos(root: Path) -> Iterator[tuple[Picture, float]]:
    """Photos with a plausible 35 mm tag, and the focal length that follows from it."""
    for photo in discover([str(root)], Selection()).photos:
        try:
            facts = read_facts(photo.path)
            image = decode(photo.path).image
        except M3dError:
            continue
        tags = [one for one in facts.camera.candidates if one.source is FocalSource.EXIF_35MM]
        if tags and PLAUSIBLE[0] <= (facts.exif.focal_35mm or 0) <= PLAUSIBLE[1]:
            yield image, tags[0].focal


def scored(opinions: list[tuple[FocalOpinion, float]]) -> dict[str, float]:
    """Median relative error, share inside the 95 % interval, and the spread of errors in stated sigmas."""
    errors = np.array([math.log(opinion.ratio / truth) for opinion, truth in opinions])
    sigmas = np.array([opinion.sigma for opinion, _ in opinions])
    return {
        "pictures": len(errors),
        "median_error": float(np.median(np.abs(np.expm1(errors)))),
        "coverage": float(np.mean(np.abs(errors) < 1.96 * sigmas)),
        "errors_in_sigmas": float(np.sqrt(np.mean((errors / sigmas) ** 2))),
    }


def judged(teller: PictureFocal, pictures: list[tuple[Picture, float]]) -> list[tuple[FocalOpinion, float]]:
    """What the teller says of each image, and the truth as a share of its diagonal."""
    return [
        (teller.opinion(image, image.shape[1], image.shape[0]), focal / math.hypot(*image.shape[:2]))
        for image, focal in pictures
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--sources", required=True)
    parser.add_argument("--photos", type=Path, required=True)
    options = parser.parse_args()
    teller = PictureFocal.bundled(choose_compute("auto").device)
    held_out, tagged = list(frames(options.frames, options.sources)), list(photos(options.photos))
    result = {"frames": scored(judged(teller, held_out)), "photos": scored(judged(teller, tagged))}
    picture_focal.EVIDENCE, picture_focal.PHOTOS = 1.0, picture_focal.SHOWN
    result["stated"] = scored(judged(teller, held_out))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
