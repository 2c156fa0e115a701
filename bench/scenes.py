"""Reconstruction, odometry and scale from a network's depth on real sequences with poses and a sensor's depth.

    python bench/scenes.py DATA [--work DIR]

DATA holds folders with rgb/, depth/ (millimetres), groundtruth.txt (TUM) and meta.json (fx fy cx cy width height, pixel
centres at +0.5). Prints Markdown tables and writes bench/results/scenes-MODEL.json. With --work the depth is kept and a
second run begins behind it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np

from m3d_cli.evaluation.trajectory_scores import Alignment, align, position_errors
from m3d_cli.formats.trajectories import read_trajectory
from m3d_cli.models.registry import BUNDLED
from m3d_cli.photos.discover import PhotoFile, Selection, discover
from m3d_cli.photos.load import CameraSources
from m3d_cli.pointcloud import PointCloud
from m3d_cli.sequences.frames import SequenceFrame, open_frames
from m3d_cli.sequences.fusion import FusionOptions
from m3d_cli.sequences.odometry import OdometryOptions, track
from m3d_cli.sequences.poses import PosedFrames
from m3d_cli.sequences.reconstruct import reconstruct
from m3d_cli.sequences.scale import constant_scale, frame_scales
from m3d_cli.sequences.scale_observations import ratios_of_corners
from m3d_cli.sequences.surface_compare import CloudAlignment, compare
from m3d_cli.sequences.temporal import Flow, TemporalFilter, WarpedError
from m3d_cli.sequences.video import steady
from m3d_cli.trajectory import Trajectory, umeyama

RESULTS = Path(__file__).parent / "results"
SIDE = 320
FUSION = FusionOptions(voxel=0.04, max_depth=4.0)
THRESHOLDS = (0.05, 0.10)
UNIT = 0.4  # metres a unit of the trajectory that is to be brought to metres
STRENGTH = 0.7
MOST = 200  # frames of a sequence
STEP = 4  # every fourth frame is fused
TRACKED = 100  # frames of odometry, scale and flicker


def frames_of(folder: Path, depth: Path, options: CameraSources) -> tuple[SequenceFrame, ...]:
    photos: tuple[PhotoFile, ...] = discover([folder / "rgb"], Selection()).photos
    return open_frames(photos[:MOST], depth, options)


def predict(folder: Path, intrinsics: Path, out: Path, model: str) -> None:
    """Depth of the frames by the command line, which skips what exists already."""
    photos = sorted((folder / "rgb").glob("*.jpg"))[:MOST]
    command = [sys.executable, "-m", "m3d_cli", "depth", "--files-from", "-", "--out", str(out), "--model", model]
    command += ["--intrinsics", str(intrinsics), "--format", "png,conf", "-q"]
    subprocess.run(command, check=True, input="\n".join(map(str, photos)).encode())


def part(frames: tuple[SequenceFrame, ...], truth: Trajectory, start: int, step: int) -> PosedFrames:
    index = np.arange(start, len(frames), step)
    return PosedFrames(tuple(frames[i] for i in index), truth.chosen(index), "by order", 0)


def surfaces(sensor: tuple[SequenceFrame, ...], network: tuple[SequenceFrame, ...], truth: Trajectory) -> dict:
    """Every kind of depth against the sensor's fusion of the same frames; the sensor with frames between these.

    Parallax is that of all frames, close together as corners need it.
    """
    shared = reconstruct(part(sensor, truth, 0, STEP), FUSION, SIDE, refine=False).surface.corners
    parallax = 1 / constant_scale(frame_scales(list(ratios_of_corners(network, truth, SIDE)))).middle
    kinds = {
        "sensor, other frames": (part(sensor, truth, STEP // 2, STEP), False, 1.0),
        "network": (part(network, truth, 0, STEP), False, 1.0),
        "network, refined": (part(network, truth, 0, STEP), True, 1.0),
        "network, parallax": (part(network, truth, 0, STEP), False, parallax),
        "network, parallax, refined": (part(network, truth, 0, STEP), True, parallax),
    }
    rows = {}
    for name, (posed, refine, factor) in kinds.items():
        corners: PointCloud = reconstruct(posed, FUSION, SIDE, refine=refine, scale=factor).surface.corners
        rows[name] = {
            way.value: asdict(compare(corners, shared, THRESHOLDS, way)[0])
            for way in (CloudAlignment.NONE, CloudAlignment.SCALED)
        }
    return rows


def ways(frames: tuple[SequenceFrame, ...], truth: Trajectory) -> dict:
    """Odometry of the first frames against the truth: APE of the longest segment after SE(3), and its scale."""
    found = track(frames[:TRACKED], OdometryOptions(SIDE, 4.0))
    longest = found.longest
    true = truth.chosen(np.arange(longest.first, longest.last + 1))
    errors = position_errors(align(longest.trajectory, true, Alignment.RIGID), true)
    return {
        "frames": min(TRACKED, len(frames)),
        "segments": len(found.segments),
        "longest": len(longest.trajectory),
        "metres": true.length,
        "ape_rmse": float(np.sqrt(np.mean(errors**2))),
        "length_ratio": longest.trajectory.length / true.length,
        "scale": 1 / umeyama(longest.trajectory.positions, true.positions, with_scale=True).scale,
        "loops": longest.loops,
    }


def metres(frames: tuple[SequenceFrame, ...], truth: Trajectory) -> dict:
    """The scale found for the true trajectory in units of 0.4 m."""
    index = np.arange(min(TRACKED, len(frames)))
    small = truth.chosen(index).with_positions(truth.positions[index] / UNIT)
    ratios = ratios_of_corners([frames[i] for i in index], small, SIDE)
    found = constant_scale(frame_scales(list(ratios)))
    return {"error": found.middle / UNIT - 1, "spread": found.spread, "frames": found.frames}


def flicker(sensor: tuple[SequenceFrame, ...], network: tuple[SequenceFrame, ...]) -> dict:
    """Warped temporal error and AbsRel of the network's depth with and without the temporal filter."""
    flow, smooth, raw_error, error = Flow(), TemporalFilter(STRENGTH), WarpedError(), WarpedError()
    raw_rel, rel = [], []
    for true, found in zip(sensor[:TRACKED], network[:TRACKED], strict=True):
        truth, view = true.read().depth.depth, found.read()
        assert view.image is not None
        warp, depth = flow.warp(view.image), view.depth.depth
        steadied = smooth.add(depth, warp)
        raw_error.add(depth, warp)
        error.add(steadied, warp)
        for values, kept in ((depth, raw_rel), (steadied, rel)):
            kept.append(float(np.nanmean(np.abs(values / truth - 1))))
    means = {"abs_rel": float(np.mean(raw_rel)), "filtered_abs_rel": float(np.mean(rel))}
    return {"warped_error": raw_error.value, "filtered_warped_error": error.value, **means, "strength": STRENGTH}


def steadied_frames(
    folder: Path, work: Path, network: tuple[SequenceFrame, ...], options: CameraSources
) -> tuple[SequenceFrame, ...]:
    """The network's frames with depth that the temporal filter steadied."""
    out = work / f"{folder.name}-filtered"
    steady(network, [work / folder.name / f"{frame.name}.json" for frame in network], out, STRENGTH)
    frames = frames_of(folder, out, options)
    return tuple(replace(frame, time=other.time) for frame, other in zip(frames, network, strict=True))


def measure(folder: Path, work: Path, model: str) -> dict:
    meta = json.loads((folder / "meta.json").read_text())
    intrinsics = work / f"{folder.name}.json"
    intrinsics.write_text(json.dumps({key: meta[key] for key in ("fx", "fy", "cx", "cy", "width", "height")}))
    predict(folder, intrinsics, work / folder.name, model)
    options = CameraSources.from_files(intrinsics=intrinsics)
    sensor = frames_of(folder, folder / "depth", options)
    network = frames_of(folder, work / folder.name, options)
    truth = read_trajectory(folder / "groundtruth.txt").chosen(np.arange(len(sensor)))
    sensor = tuple(replace(f, time=float(t)) for f, t in zip(sensor, truth.times, strict=True))
    network = tuple(replace(f, time=float(t)) for f, t in zip(network, truth.times, strict=True))
    steadied = steadied_frames(folder, work, network, options)
    print(f"{folder.name}: depth is there", file=sys.stderr)
    return {
        "frames": len(sensor),
        "surfaces": surfaces(sensor, network, truth),
        "odometry": {
            "sensor": ways(sensor, truth),
            "network": ways(network, truth),
            "network, filtered": ways(steadied, truth),
        },
        "scale": {"sensor": metres(sensor, truth), "network": metres(network, truth)},
        "flicker": flicker(sensor, network),
    }


def tables(results: dict, model: str) -> str:
    lines = ["| sequence | depth | Chamfer | F at 5 cm | F at 10 cm | Chamfer aligned | scale |", "|---|" + "---|" * 6]
    for name, one in results.items():
        for kind, row in one["surfaces"].items():
            plain, scaled = row["none"], row["scaled"]
            scores = " | ".join(f"{at['f_score']:.2f}" for at in plain["thresholds"])
            label = kind.replace("network", f"`{model}`")
            chamfers = (f"{100 * plain['chamfer_l1']:.1f} cm", f"{100 * scaled['chamfer_l1']:.1f} cm")
            lines.append(f"| {name} | {label} | {chamfers[0]} | {scores} | {chamfers[1]} | {scaled['scale']:.2f} |")
    lines += [
        "",
        "| sequence | depth | tracked | APE (SE3) | length | scale found for a known way |",
        "|---|" + "---|" * 5,
    ]
    for name, one in results.items():
        for kind, row in one["odometry"].items():
            scale, label = one["scale"].get(kind), kind.replace("network", f"`{model}`")
            tracked = f"{row['longest']} of {row['frames']} frames, {row['metres']:.1f} m"
            found = f"{scale['error']:+.1%} (frames spread {scale['spread']:.0%})" if scale else ""
            ape, length = f"{100 * row['ape_rmse']:.1f} cm", f"{row['length_ratio'] - 1:+.0%}"
            lines.append(f"| {name} | {label} | {tracked} | {ape} | {length} | {found} |")
    lines += ["", "| sequence | warped temporal error | filtered | AbsRel | filtered |", "|---|" + "---|" * 4]
    for name, one in results.items():
        row = one["flicker"]
        values = ("warped_error", "filtered_warped_error", "abs_rel", "filtered_abs_rel")
        lines.append(f"| {name} | " + " | ".join(f"{row[value]:.1%}" for value in values) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--model", default="lite")
    choice = parser.parse_args()
    cv2.setNumThreads(1)
    begin, results = time.monotonic(), {}
    with tempfile.TemporaryDirectory() as temporary:
        work = choice.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        for folder in sorted(path.parent for path in choice.data.glob("*/groundtruth.txt")):
            results[folder.name] = measure(folder, work, choice.model)
    sha256 = BUNDLED[choice.model].sha256 if choice.model in BUNDLED else None
    content = {"model": choice.model, "weights_sha256": sha256, "fusion": asdict(FUSION), "sequences": results}
    (RESULTS / f"scenes-{choice.model}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(tables(results, choice.model))
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
