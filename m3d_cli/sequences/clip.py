"""Frames of a video in upright RGB with their times, by PyAV; how a clip ended is part of what is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.errors import PhotoError, UsageError
from m3d_cli.extras import install_hint
from m3d_cli.formats.bounded import check_numbers, reading

_HINT = "restore or convert it"
# Frames that cannot be decoded, one after the other, before the rest of the clip is given up.
MOST_BROKEN = 30
# Seconds by which a clip may end before its announced length and be whole.
SHORT_OF_END = 0.5

# Where phones put the focal length as a 35 mm equivalent.
_FOCAL_KEYS = ("com.apple.quicktime.camera.focal_length.35mm_equivalent", "com.android.focal_length_35mm")


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """What a clip says of itself: seconds announced or None, frames per second on average, focal length if told."""

    seconds: float | None
    rate: float | None
    focal_35mm: float | None


@dataclass(frozen=True, slots=True, eq=False)
class ClipFrame:
    """Frame ``number`` of the clip at ``time`` seconds, uint8 (H, W, 3) upright."""

    number: int
    time: float
    image: NDArray[np.uint8]


class Clip:
    """An opened video; ``notes`` fill while frames are read and say what was wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._av = load_av()
        with reading(path, PhotoError, "not a video that can be read", _HINT):
            self._container: Any = self._av.open(str(path))
            self._stream: Any = self._container.streams.video[0]
            self._stream.thread_type = "AUTO"
            self.facts = self._read_facts()
            check_numbers(self._stream.width * self._stream.height, path.stat().st_size)

    def close(self) -> None:
        """Free the file."""
        self._container.close()

    def frames(self) -> Iterator[ClipFrame]:
        """Every frame that can be decoded, in order of time; a broken tail ends it with a note, never an error."""
        with reading(self.path, PhotoError, "the video is damaged", _HINT):
            yield from self._in_order()

    def _in_order(self) -> Iterator[ClipFrame]:
        last, number = -1.0, 0
        for frame in self._decoded():
            time = float(frame.time) if frame.time is not None else number / (self.facts.rate or 30.0)
            if time <= last:
                self._note("frames without ascending times are left out")
                continue
            last = time
            yield ClipFrame(number, time, upright(frame.to_ndarray(format="rgb24"), int(frame.rotation)))
            number += 1
        if not number:
            raise PhotoError(f"{self.path}: no frame can be decoded", hint="restore or convert the video")
        announced = self.facts.seconds
        step = 1 / self.facts.rate if self.facts.rate else 0.0
        if announced is not None and last + step < announced - SHORT_OF_END:
            self._note(f"the video is truncated at {last:.2f} s of {announced:.2f} s")

    def _decoded(self) -> Iterator[Any]:
        broken, packets = 0, self._container.demux(self._stream)
        while broken < MOST_BROKEN:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                yield from packet.decode()
                broken = 0
            except self._av.error.FFmpegError as error:
                broken += 1
                self._note(f"damaged data ({error.strerror or type(error).__name__})")
        yield from self._held_back()

    def _held_back(self) -> Iterator[Any]:
        """Frames that the decoder still holds where damage kept the end of the clip from being seen."""
        try:
            yield from self._stream.codec_context.decode(None)
        except self._av.error.FFmpegError:  # its end was seen, and nothing is held
            return

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _read_facts(self) -> ClipFacts:
        stream, container = self._stream, self._container
        seconds = None
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / self._av.time_base
        rate = float(stream.average_rate) if stream.average_rate else None
        told = {**container.metadata, **stream.metadata}
        return ClipFacts(seconds, rate, next((_number(told[key]) for key in _FOCAL_KEYS if key in told), None))


def load_av() -> Any:  # av is optional
    """PyAV; raises UsageError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise UsageError("videos need PyAV", hint=f"{install_hint('video')}; folders of frames work without") from error
    return av


def upright(image: NDArray[np.uint8], rotation: int) -> NDArray[np.uint8]:
    """The image turned as its display matrix says, ``rotation`` degrees counter-clockwise in quarter turns."""
    return np.ascontiguousarray(np.rot90(image, round(rotation / 90) % 4))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value > 0 else None
