"""Points picked on a photo, and the error of a measurement that cannot be made from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from m3d_cli.errors import M3dError


class MeasureError(M3dError):
    """A measurement that cannot be made, by name and with a hint; the others go on."""

    code = "BAD_MEASUREMENT"
    exit_code = 3


class Side(str, Enum):
    """The side of an edge that a pick means."""

    NEAR = "near"
    FAR = "far"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Pick:
    """A point in pixels of the upright photo, top-left corner (0, 0); ``side`` for picks at an edge.

    Where lens distortion was removed, ``u`` and ``v`` are pixels of the undistorted image, and ``given`` is the pixel
    of the photo.
    """

    u: float
    v: float
    side: Side | None = None
    given: tuple[float, float] | None = None

    @property
    def shown(self) -> tuple[float, float]:
        """The pixel of the photo that people see."""
        return (self.u, self.v) if self.given is None else self.given

    def __str__(self) -> str:
        return "{:g},{:g}".format(*self.shown)
