"""A video of images beside their depth, in one range of colours for the whole clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.atomic import atomic_path
from m3d_cli.errors import OutputError
from m3d_cli.formats.previews import PreviewStyle, render_preview
from m3d_cli.sequences.clip import load_av
from m3d_cli.sequences.frames import SequenceFrame, View, resized

# Longer side of each image.
SIDE = 640
_CODECS = ("libx264", "mpeg4")
_TICKS = 1000  # a second
_QUALITY = {"libx264": {"crf": "20", "preset": "veryfast"}, "mpeg4": {"qscale": "4"}}


def write_preview(
    path: Path,
    frames: Sequence[SequenceFrame],
    times: NDArray[np.float64],
    style: PreviewStyle,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Write the clip as MP4, each frame at its time; raises OutputError where no encoder is there."""
    av = load_av()
    codec = next((name for name in _CODECS if name in av.codecs_available), None)
    if codec is None:
        raise OutputError(f"{path}: this PyAV has no encoder among {', '.join(_CODECS)}", hint="pip install av")
    ticks = np.rint((times - times[0]) * _TICKS).astype(int)
    with atomic_path(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream: Any = None
        for frame, tick in zip(frames, ticks.tolist(), strict=True):
            picture = side_by_side(frame.view(SIDE), style)
            if stream is None:
                stream = _stream(container, codec, picture)
            image = av.VideoFrame.from_ndarray(_fitted(picture, stream), format="rgb24")
            image.pts, image.time_base = tick, Fraction(1, _TICKS)
            container.mux(stream.encode(image))
            advance()
        container.mux(stream.encode(None))


def side_by_side(view: View, style: PreviewStyle) -> NDArray[np.uint8]:
    """The image left, its depth with the bar of colours right, (H, W, 3)."""
    depth = render_preview(view.depth.depth, style)
    if view.image is None:
        return depth
    image = resized(view.image, view.depth.camera)
    padded = cv2.copyMakeBorder(
        image, 0, depth.shape[0] - image.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=(250, 250, 250)
    )
    return np.concatenate([np.asarray(padded, dtype=np.uint8), depth], axis=1)


def _stream(container: Any, codec: str, picture: NDArray[np.uint8]) -> Any:
    stream = container.add_stream(codec, rate=30, options=_QUALITY[codec])
    stream.height, stream.width = (side + side % 2 for side in picture.shape[:2])
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS)
    return stream


def _fitted(picture: NDArray[np.uint8], stream: Any) -> NDArray[np.uint8]:
    """The image with the encoder's even sides."""
    down, across = stream.height - picture.shape[0], stream.width - picture.shape[1]
    if max(abs(down), abs(across)) > 1:
        return np.asarray(cv2.resize(picture, (stream.width, stream.height)), dtype=np.uint8)
    return np.ascontiguousarray(np.pad(picture, [(0, down), (0, across), (0, 0)], mode="edge"))
