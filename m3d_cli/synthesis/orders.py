"""An order for rendered images: simple solids, or scenes of true-size models where a library of them is named."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from m3d_cli.datasets.sample import Sample
from m3d_cli.errors import UsageError
from m3d_cli.synthesis.assets import load_assets
from m3d_cli.synthesis.generate import MIXTURE, SCENES, Recipe, render_many
from m3d_cli.synthesis.scenes.shapes import FIELD_OF_VIEW, SHAPE_MIXTURE, SHAPE_SCENES, render_shapes


@dataclass(frozen=True, slots=True)
class Order:
    """Images of ``seeds``, ``width`` x ``height`` pixels.

    ``scenes`` come in equal shares, in the usual ones where none is named; ``field_of_view`` bounds the horizontal
    angle in degrees. ``rich_light`` concerns scenes of a library alone.
    """

    seeds: range
    width: int
    height: int
    scenes: tuple[str, ...] = ()
    field_of_view: tuple[float, float] | None = None
    library: Path | None = None
    rich_light: bool = True


def render(order: Order, workers: int) -> Iterator[Sample]:
    """The images, in the order of their seeds; raises UsageError for scenes or angles that there are not."""
    if order.field_of_view is not None and not 0 < order.field_of_view[0] <= order.field_of_view[1] < 180:
        raise UsageError("the field of view lies between 0 and 180 degrees, the smaller angle first")
    if order.library is None:
        mixture = _mixture(order.scenes, SHAPE_SCENES, SHAPE_MIXTURE)
        angles = order.field_of_view or FIELD_OF_VIEW
        return render_shapes(order.seeds, order.width, order.height, mixture, angles, workers)
    recipe = Recipe(_mixture(order.scenes, SCENES, MIXTURE), order.rich_light, order.field_of_view)
    return render_many(load_assets(order.library), order.seeds, order.width, order.height, workers, recipe)


def _mixture(names: tuple[str, ...], known: Collection[str], usual: Mapping[str, float]) -> dict[str, float]:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise UsageError(f"no scenes named {', '.join(unknown)}", hint=f"choose from {', '.join(known)}")
    return dict.fromkeys(names, 1.0) if names else dict(usual)
