"""Frames that can be read, told from the damaged ones before work begins: one bad frame never stops the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from m3d_cli.camera import FocalSource
from m3d_cli.errors import M3dError
from m3d_cli.sequences.frames import SequenceFrame


@dataclass(frozen=True, slots=True)
class Checked:
    """Places of the frames that can be read, the errors of the others, and how many focal lengths nobody told."""

    readable: tuple[int, ...]
    errors: tuple[M3dError, ...]
    guessed_focals: int


def check(frames: Sequence[SequenceFrame], advance: Callable[[], None] = lambda: None) -> Checked:
    """Read every frame once, one at a time; raises the first frame's error where none can be read."""
    readable: list[int] = []
    errors: list[M3dError] = []
    guessed = 0
    for place, frame in enumerate(frames):
        try:
            source = frame.read().depth.camera.focal_source
        except M3dError as error:
            errors.append(error)
        else:
            readable.append(place)
            guessed += source in (FocalSource.ASSUMED, FocalSource.ESTIMATED)
        advance()
    if errors and not readable:
        raise errors[0]
    return Checked(tuple(readable), tuple(errors), guessed)
