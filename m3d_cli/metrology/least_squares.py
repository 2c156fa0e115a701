"""Non-linear least squares by Levenberg-Marquardt, and numerical derivatives, for the few unknowns of one photo."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_ROUNDS = 60
_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-3, 1e-12, 1e8
_GAIN = 1e-10


def least_squares(
    residuals: Callable[[Vector], Vector], jacobian: Callable[[Vector], Vector], start: Vector
) -> tuple[Vector, Vector]:
    """The unknowns (N,) where the sum of squares of ``residuals`` (M,) is least, and the Jacobian (M, N) there."""
    here, damping = start, _DAMPING
    value, slopes = residuals(here), jacobian(here)
    for _ in range(_ROUNDS):
        normal = slopes.T @ slopes
        damped = normal + damping * np.diag(np.diag(normal) + _LEAST_DAMPING)
        step = np.linalg.lstsq(damped, -(slopes.T @ value), rcond=None)[0]
        there = residuals(here + step)
        if there @ there < value @ value:
            is_done = value @ value - there @ there < _GAIN * (value @ value) + 1e-14
            here, value, damping = here + step, there, max(damping / 10, _LEAST_DAMPING)
            slopes = jacobian(here)
            if is_done:
                break
        elif damping > _MOST_DAMPING:
            break
        else:
            damping *= 10
    return here, slopes


def derivative(function: Callable[[Vector], Vector], here: Vector, step: float = 1e-6) -> Vector:
    """Jacobian (M, N) of ``function`` by central differences."""
    return np.stack([slope(function, here, unit * step) for unit in np.eye(len(here))], axis=1)


def slope(function: Callable[[Vector], Vector], here: Vector, step: Vector) -> Vector:
    """Change of ``function`` (M,) along ``step``, for one unit of its largest entry."""
    return np.asarray((function(here + step) - function(here - step)) / (2 * float(np.abs(step).max())))
