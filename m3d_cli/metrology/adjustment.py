"""One weighted least-squares adjustment of all that is known about a photo: what was read of it, and what is exact.

The unknowns are the errors of `Uncertain`, standard normal before anything exact is known. Observations (known lengths,
planes of markers, heights) are functions of the state with errors of their own. What is most probable given both is
found by Gauss-Newton; its covariance is (1 + J^T J)^-1 for the Jacobian J of the observations in their own standard
deviations, and the part of each cause in the error of a value follows from the same J.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.metrology.least_squares import derivative, least_squares
from m3d_cli.metrology.uncertainty import Quantity, Split, State, Term, Uncertain

Vector = NDArray[np.float64]

# Steps of central differences, in standard deviations: for slopes and curvatures of values, and for the adjustment.
_STEP, _FINE_STEP = 0.02, 1e-4
# Variances above this are of errors that no observation determines.
_FREE = 0.5
# What is left of a term that cancels, relative to the value.
_CANCELLED = 1e-6
# Observations that the assumed errors count as, where observations fit worse than they should.
PRIOR_FREEDOM = 4.0


@dataclass(frozen=True, slots=True)
class Observation:
    """Something known: ``departures`` (M,) of a state from it, in standard deviations; ``term`` is its error's name."""

    name: str
    departures: Callable[[State], Vector]
    term: Term = Term.REFERENCE


@dataclass(frozen=True, slots=True, eq=False)
class Adjusted:
    """The most probable ``errors`` (N,) of a photo and their covariance (N, N).

    ``jacobian`` (M, N) and ``departures`` (M,) are those of the observations there, ``owners`` (M,) the places of the
    observations in their order. ``widening`` multiplies standard deviations where the observations fit worse than
    they should.
    """

    uncertain: Uncertain
    observations: tuple[Observation, ...]
    errors: Vector
    covariance: Vector
    jacobian: Vector
    departures: Vector
    owners: NDArray[np.int64]
    widening: float

    @property
    def state(self) -> State:
        """The most probable geometry."""
        return self.uncertain.state(self.errors)

    def split(self, quantity: Quantity) -> Split:
        """The value of ``quantity`` and the standard deviation that each term alone gives it.

        Where a slope vanishes, as that of a plumb line's length in the direction of plumb, the curvature counts; not
        for errors that observations determine, which are small and only together what they are.
        """
        value = quantity(self.state)
        slopes, curvatures = self._derivatives(quantity, value)
        spread = self.covariance @ slopes
        own = np.diag(self.covariance)
        bent = np.where(own > _FREE, curvatures * own, 0.0)
        squares = dict.fromkeys(Term, 0.0)
        for index, term in enumerate(self.uncertain.terms):
            squares[term] += spread[index] ** 2 + bent[index] ** 2 / 2
        for row, owner in zip(self.jacobian, self.owners, strict=True):
            squares[self.observations[owner].term] += float(row @ spread) ** 2
        least = (_CANCELLED * value) ** 2
        return Split(value, {t: self.widening * math.sqrt(s) if s > least else 0.0 for t, s in squares.items()})

    def normalised(self) -> tuple[float, ...]:
        """How far each observation lies from all else, in standard deviations of that distance (Baarda's w)."""
        left = np.eye(len(self.departures)) - self.jacobian @ self.covariance @ self.jacobian.T
        found = []
        for index in range(len(self.observations)):
            own = self.owners == index
            variances = np.maximum(np.diag(left)[own], 1e-12)
            found.append(float(np.max(np.abs(self.departures[own]) / np.sqrt(variances), initial=0.0)))
        return tuple(found)

    def _derivatives(self, quantity: Quantity, value: float) -> tuple[Vector, Vector]:
        slopes, curvatures = np.zeros(len(self.errors)), np.zeros(len(self.errors))
        for index in range(len(self.errors)):
            step = np.zeros(len(self.errors))
            step[index] = _STEP
            above = quantity(self.uncertain.state(self.errors + step))
            below = quantity(self.uncertain.state(self.errors - step))
            slopes[index] = (above - below) / (2 * _STEP)
            curvatures[index] = (above + below - 2 * value) / _STEP**2
        return slopes, curvatures


def adjust(uncertain: Uncertain, observations: Sequence[Observation] = ()) -> Adjusted:
    """All that is uncertain, given the ``observations``."""
    count = len(uncertain.terms)
    sizes = [len(one.departures(uncertain.state(np.zeros(count)))) for one in observations]
    owners = np.repeat(np.arange(len(observations)), sizes)
    if not len(owners):
        nothing = np.zeros(0)
        return Adjusted(
            uncertain, (), np.zeros(count), np.eye(count), np.zeros((0, count)), nothing, owners.astype(np.int64), 1.0
        )

    def departures(errors: Vector) -> Vector:
        state = uncertain.state(errors)
        return np.concatenate([one.departures(state) for one in observations])

    def jacobian(errors: Vector) -> Vector:
        return np.concatenate([np.eye(count), derivative(departures, errors, _FINE_STEP)])

    errors, slopes = least_squares(lambda z: np.concatenate([z, departures(z)]), jacobian, np.zeros(count))
    own = slopes[count:]
    left = departures(errors)
    squares = float(errors @ errors + left @ left)
    widening = math.sqrt(max(1.0, (PRIOR_FREEDOM + squares) / (PRIOR_FREEDOM + len(left))))
    covariance = np.asarray(np.linalg.inv(np.eye(count) + own.T @ own), dtype=np.float64)
    return Adjusted(uncertain, tuple(observations), errors, covariance, own, left, owners.astype(np.int64), widening)
