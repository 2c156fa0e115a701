"""Rounding by uncertainty: two significant digits of the interval's half width, and no more."""

from __future__ import annotations

import math

SIGNIFICANT = 2
# Digits of a value whose interval has no width.
MOST_DIGITS = 6


def decimals_for(value: float, low: float, high: float) -> int:
    """Decimal places (negative: tens, hundreds) that the interval from ``low`` to ``high`` supports."""
    half = (high - low) / 2
    size = abs(value)
    most = MOST_DIGITS - 1 - _magnitude(size) if size > 0 and math.isfinite(size) else MOST_DIGITS
    if not (math.isfinite(half) and half > 0):
        return most
    return min(SIGNIFICANT - 1 - _magnitude(_rounded_up(half)), most)


def end_decimals(end: float, decimals: int) -> int:
    """Places of an interval's end: those of its value, but a positive end stays positive."""
    if end <= 0 or rounded(end, decimals) > 0:
        return decimals
    return -_magnitude(end)


def value_decimals(value: float, low: float, decimals: int) -> int:
    """Places of a value: those that its interval supports, but a value that is surely positive stays positive."""
    return end_decimals(value, decimals) if low > 0 else decimals


def rounded(value: float, decimals: int) -> float:
    """``value`` to ``decimals`` places; never minus zero."""
    return round(value, decimals) + 0.0


def text_of(value: float, decimals: int) -> str:
    """``value`` as text with exactly ``decimals`` places, trailing zeros kept, since they are digits too."""
    return f"{rounded(value, decimals):.{max(0, decimals)}f}"


def significant(value: float, digits: int) -> float:
    """``value`` to ``digits`` significant digits."""
    if value == 0 or not math.isfinite(value):
        return 0.0 if value == 0 else value
    return rounded(value, digits - 1 - _magnitude(abs(value)))


def _magnitude(value: float) -> int:
    return math.floor(math.log10(value))


def _rounded_up(half: float) -> float:
    """0.0996 has the digits of 0.10."""
    return round(half, SIGNIFICANT - 1 - _magnitude(half)) or half
