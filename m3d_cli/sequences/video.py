"""A clip's depth frame by frame: its flicker measured, and where asked for, the filtered depth written beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m3d_cli.atomic import write_bytes
from m3d_cli.depthmap import DepthMap
from m3d_cli.formats.depth_folder import load_depth
from m3d_cli.formats.depth_png import MILLIMETRES, encode_depth_png
from m3d_cli.formats.sidecar import OutputRecord, depth_record, encode_sidecar
from m3d_cli.sequences.frames import SequenceFrame
from m3d_cli.sequences.temporal import Flow, TemporalFilter, WarpedError

# Pixels a frame that the range of colours is judged by.
RANGE_PIXELS = 2000
RANGE_PERCENTILES = (2, 98)


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Warped temporal error (relative depth a frame) before and after the filter, None where nothing could be compared;
    one range of colours in metres.
    """

    flicker: float | None
    filtered_flicker: float | None
    near: float
    far: float


def steady(
    frames: Sequence[SequenceFrame],
    sidecars: Sequence[Path],
    filtered: Path | None,
    strength: float,
    advance: Callable[[], None] = lambda: None,
) -> Steadiness:
    """Go through the clip once; with a folder ``filtered`` write the steadied depth there, with its sidecars."""
    flow, before, after, samples = Flow(), WarpedError(), WarpedError(), []
    smooth = TemporalFilter(strength) if filtered is not None else None
    for frame, sidecar in zip(frames, sidecars, strict=True):
        view = frame.read()
        warp = None if view.image is None else flow.warp(view.image)
        depth = view.depth.depth
        before.add(depth, warp)
        if smooth is not None and filtered is not None:
            depth = smooth.add(depth, warp)
            after.add(depth, warp)
            _write(sidecar, dataclasses.replace(view.depth, depth=depth, confidence=None), filtered, strength)
        known = depth[np.isfinite(depth)]
        samples.append(known[:: max(1, known.size // RANGE_PIXELS)])
        advance()
    values = np.concatenate(samples)
    near, far = np.percentile(values, RANGE_PERCENTILES) if values.size else (1.0, 2.0)
    return Steadiness(before.value, after.value if smooth is not None else None, float(near), float(far))


def _write(sidecar: Path, depth: DepthMap, folder: Path, strength: float) -> None:
    """Depth as PNG with the sidecar of the unfiltered one, which says what was done."""
    told = load_depth(sidecar).sidecar
    data, clipped = encode_depth_png(depth.depth)
    name = sidecar.with_suffix(".png").name
    note = f"temporal filter along optical flow, share of the past {strength:g}"
    record = dataclasses.replace(
        told,
        depth=depth_record(depth.summary, clipped),
        outputs=(OutputRecord(name, "png", MILLIMETRES),),
        notes=(*told.notes, note),
    )
    write_bytes(folder / name, data)
    write_bytes(folder / sidecar.name, encode_sidecar(record))
