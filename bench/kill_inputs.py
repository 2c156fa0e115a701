"""Small inputs of the commands that `kills.py` kills: photos, a walk along a wall, a clip, weights, a run."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from m3d_cli.formats.trajectory_tables import encode_tum
from m3d_cli.models.convert import to_official
from m3d_cli.models.metric3d import build_network
from m3d_cli.trajectory import Trajectory

PUBLISHED_MODEL = "m3d-test-vit"
WIDTH, HEIGHT, FOCAL = 160, 120, 130
FRAMES, STEP_PIXELS, DISTANCE = 6, 4, 2.0  # the wall's distance in metres

CONFIG = """
model = "m3d-test-lite"
checkpoint_every = 2
log_every = 1
[data]
canvas_width = 84
canvas_height = 56
[[data.groups]]
kind = "rgbd"
weight = 1
root = "{root}"
[optimiser]
steps = 7
batch_size = 2
[validation]
root = "{root}"
every = 3
held_out = ["synthetic"]
"""


def plain_photos(folder: Path) -> None:
    """Photos of noise, and one of a whole sphere."""
    rng = np.random.default_rng(1)
    (folder / "photos").mkdir()
    for index in range(6):
        cv2.imwrite(f"{folder}/photos/{index}.png", rng.integers(0, 255, (40 + index, 56, 3), dtype=np.uint8))
    cv2.imwrite(f"{folder}/sphere.png", rng.integers(0, 255, (40, 80, 3), dtype=np.uint8))


def published_checkpoint(path: Path, seed: int) -> None:
    """The tiny network's random weights as its authors would publish them."""
    torch.manual_seed(seed)
    torch.save({"model_state_dict": to_official(PUBLISHED_MODEL, build_network(PUBLISHED_MODEL).state_dict())}, path)


def walk(folder: Path, clip: Path) -> None:
    """A walk along a painted wall: ``photos``, ``depth`` in millimetres, ``poses.txt``, and a clip of the photos."""
    rng = np.random.default_rng(2)
    wall = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH + FRAMES * STEP_PIXELS, 3)), None, 3)
    wall = np.clip(128 + 500 * wall, 0, 255).astype(np.uint8)
    for name in ("photos", "depth"):
        (folder / name).mkdir(parents=True)
    photos = [wall[:, index * STEP_PIXELS : index * STEP_PIXELS + WIDTH] for index in range(FRAMES)]
    depth = np.full((HEIGHT, WIDTH), round(1000 * DISTANCE), np.uint16)
    for index, photo in enumerate(photos):
        cv2.imwrite(f"{folder}/photos/{index:04d}.png", photo)
        cv2.imwrite(f"{folder}/depth/{index:04d}.png", depth)
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, 0, 3] = np.arange(FRAMES) * STEP_PIXELS * DISTANCE / FOCAL
    (folder / "poses.txt").write_bytes(encode_tum(Trajectory(np.arange(FRAMES) / 30, poses)))
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30)
        for index, photo in enumerate(photos):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(photo), format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def training_config(path: Path, root: Path) -> None:
    """A run of seven steps with a checkpoint after every other one, on the frames of the sources below ``root``."""
    path.write_text(CONFIG.format(root=root.as_posix()))
