"""Known lengths in the photo: the factor they give every other length, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.metrology.geometry import dimensions
from m3d_cli.metrology.geometry.scene import Element, Scene
from m3d_cli.metrology.measurands import Reference
from m3d_cli.metrology.picks import MeasureError
from m3d_cli.metrology.uncertainty import Quantity, Split, State, Term, Uncertain

# References that differ by more of their own standard deviations than this get a warning, or are refused.
SUSPICIOUS, CONTRADICTORY = 2.0, 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """The scale from references: lengths are multiplied by ``factor``; ``weights`` are each reference's share in it."""

    factor: float
    rel_sigma: float
    references: tuple[Reference, ...]
    weights: NDArray[np.float64]
    warnings: tuple[str, ...] = ()


def scale_of(scene: Scene) -> Scale | None:
    """The weighted mean of ln k over the references, k = true length / measured length; raises MeasureError."""
    references = scene.request.references
    if not references:
        return None
    elements = reference_elements(scene)
    lone = Uncertain(scene.depth.camera, scene.error_model, elements, scene.used_planes(elements), len(references))
    each = [lone.split(_log_factor(ref, 2 * i, i)) for i, ref in enumerate(references)]
    own = np.array([_own_sigma(split) for split in each])
    warnings = _disagreements(references, lone)
    weights = own**-2 / (own**-2).sum()
    together = lone.split(_log_mean(references, weights, 0))
    return Scale(math.exp(together.value), _own_sigma(together), references, weights, warnings)


def reference_elements(scene: Scene) -> list[Element]:
    """Both ends of every reference."""
    return [
        scene.element(pick, ref.pick_sigma, ref.on, ref.name) for ref in scene.request.references for pick in ref.points
    ]


def scaled(quantity: Quantity, scale: Scale | None, first: int, power: int) -> Quantity:
    """``quantity`` times k^power, the references' ends being the points from ``first`` on.

    The errors of reference and measurement are propagated together, so common ones cancel.
    """
    if scale is None or power == 0:
        return quantity
    log_mean = _log_mean(scale.references, scale.weights, first)
    return lambda state: quantity(state) * math.exp(power * log_mean(state))


def _log_factor(reference: Reference, first: int, extra: int) -> Quantity:
    def quantity(state: State) -> float:
        measured = dimensions.path(state.points[first : first + 2])
        return math.log(reference.length / max(measured, 1e-9)) + reference.tolerance * float(state.extra[extra])

    return quantity


def _log_mean(references: Sequence[Reference], weights: NDArray[np.float64], first: int) -> Quantity:
    parts = [_log_factor(ref, first + 2 * i, i) for i, ref in enumerate(references)]
    return lambda state: sum(float(w) * part(state) for w, part in zip(weights, parts, strict=True))


def _own_sigma(split: Split) -> float:
    """The error of a reference itself: not the common ones, which it measures."""
    own = math.sqrt(sum(s**2 for term, s in split.terms.items() if term not in (Term.FOCAL, Term.SCALE)))
    return max(own, 1e-6)


def _disagreements(references: Sequence[Reference], lone: Uncertain) -> tuple[str, ...]:
    """A warning where the worst pair of references disagrees; raises MeasureError for a contradiction.

    Pairs are judged by the error of their difference: the scale cancels in it, a wrong focal length does not where
    one lies across and one along the view.
    """
    worst, pair = 0.0, ("", "")
    for i, one in enumerate(references):
        for j, other in enumerate(references[:i]):
            split = lone.split(_difference(_log_factor(one, 2 * i, i), _log_factor(other, 2 * j, j)))
            apart = abs(split.value) / max(split.sigma, 1e-6)
            if apart > worst:
                worst, pair = apart, (other.name, one.name)
    if worst > CONTRADICTORY:
        raise MeasureError(
            f"{pair[0]} and {pair[1]} contradict each other by {worst:.1f} standard deviations",
            hint="check their points and lengths",
        )
    return (f"{pair[0]} and {pair[1]} disagree by {worst:.1f} standard deviations",) if worst > SUSPICIOUS else ()


def _difference(one: Quantity, other: Quantity) -> Quantity:
    return lambda state: one(state) - other(state)
