"""Images with exact metric depth and normals from scenes of true-size objects: rooms, table tops, halls, streets.

A seed means one image, always the same; four consecutive seeds look at one scene.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

import numpy as np

from m3d_cli.camera import Camera
from m3d_cli.datasets.sample import Sample
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DatasetError
from m3d_cli.photo import Photo
from m3d_cli.synthesis.assets import AssetLibrary
from m3d_cli.synthesis.light import many_lamps
from m3d_cli.synthesis.optics import develop
from m3d_cli.synthesis.render_pool import render_groups
from m3d_cli.synthesis.scenery import FAR, Scene, View, camera_of, focal_between
from m3d_cli.synthesis.scenes.country import parkway
from m3d_cli.synthesis.scenes.halls import bin_, corridor, hall, shelf
from m3d_cli.synthesis.scenes.outdoors import car_park, garden
from m3d_cli.synthesis.scenes.rooms import room
from m3d_cli.synthesis.scenes.rows import kitchen, office
from m3d_cli.synthesis.scenes.streets import drive, walk
from m3d_cli.synthesis.scenes.tabletops import desk, tabletop

VIEWS_PER_SCENE = 4
_TRIES = 24
_PREVIEW = (44, 33)  # pixels
_GOLDEN = 0.6180339887498949

SceneMaker = Callable[[AssetLibrary, np.random.Generator], Scene]

SCENES: dict[str, SceneMaker] = {
    "room": room,
    "tabletop": tabletop,
    "desk": desk,
    "corridor": corridor,
    "hall": hall,
    "bin": bin_,
    "shelf": shelf,
    "drive": drive,
    "walk": walk,
    "carpark": car_park,
    "garden": garden,
    "parkway": parkway,
    "kitchen": kitchen,
    "office": office,
}

# Shares of the mixture: the viewpoints a network is trained on are its prior of scale, so each comes in quantity.
MIXTURE: Mapping[str, float] = MappingProxyType(
    {
        "room": 0.28,
        "tabletop": 0.17,
        "desk": 0.07,
        "corridor": 0.03,
        "hall": 0.03,
        "bin": 0.02,
        "shelf": 0.02,
        "drive": 0.16,
        "parkway": 0.11,
        "walk": 0.06,
        "carpark": 0.03,
        "garden": 0.02,
    }
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is rendered: the share of each kind of scene, by the names in `SCENES`.

    ``rich_light`` gives rooms lamps of several colours and windows (`light.many_lamps`); ``field_of_view`` bounds the
    horizontal angle in degrees, instead of what suits each scene. Neither changes where things and cameras stand.
    """

    mixture: Mapping[str, float] = field(default_factory=lambda: dict(MIXTURE))
    rich_light: bool = False
    field_of_view: tuple[float, float] | None = None


STANDARD = Recipe()


def render_sample(library: AssetLibrary, seed: int, width: int, height: int, recipe: Recipe = STANDARD) -> Sample:
    """The image of ``seed``, ``width`` x ``height`` pixels, with depth in metres (+inf sky) and normals."""
    return next(iter(_render_group(library, [seed], width, height, recipe)))


def render_many(
    library: AssetLibrary,
    seeds: Iterable[int],
    width: int,
    height: int,
    workers: int = 1,
    recipe: Recipe = STANDARD,
) -> Iterator[Sample]:
    """The images of ``seeds`` in their order, made by ``workers`` processes.

    Consecutive seeds of one scene are rendered together, which is three times as fast as one at a time.
    """
    render = partial(_render_group, library, width=width, height=height, recipe=recipe)
    return render_groups(
        render, (list(seeds) for _, seeds in groupby(seeds, lambda seed: seed // VIEWS_PER_SCENE)), workers
    )


def _render_group(library: AssetLibrary, seeds: Sequence[int], width: int, height: int, recipe: Recipe) -> list[Sample]:
    """Images of one scene; a scene without a good view is drawn again."""
    number = seeds[0] // VIEWS_PER_SCENE
    for attempt in range(8):
        scene = maker_of(number, recipe.mixture)(library, np.random.default_rng([number, attempt, 1]))
        if recipe.rich_light:
            scene.stage.lighting = many_lamps(scene.stage.lighting, np.random.default_rng([number, attempt, 4]))
        views = [_view(scene, seed, attempt, (width, height), recipe.field_of_view) for seed in seeds]
        if None not in views:
            break
    else:
        raise DatasetError(f"seed {seeds[0]}: no scene with a usable view in eight", hint="leave this seed out")
    return [
        _photograph(scene, view, seed, width, height)
        for seed, view in zip(seeds, views, strict=True)
        if view is not None
    ]


def maker_of(number: int, mixture: Mapping[str, float] = MIXTURE) -> SceneMaker:
    """What kind of scene ``number`` is: multiples of the golden ratio, so that every run of numbers has the shares."""
    names = list(mixture)
    limits = np.cumsum([mixture[name] for name in names])
    place = number * _GOLDEN % 1.0 * limits[-1]
    return SCENES[names[int(np.searchsorted(limits, place, side="right"))]]


def _view(
    scene: Scene, seed: int, attempt: int, size: tuple[int, int], field_of_view: tuple[float, float] | None
) -> tuple[View, Camera] | None:
    """The first proposed view that shows something at a sensible distance."""
    rng, lenses = np.random.default_rng([seed, attempt, 2]), np.random.default_rng([seed, attempt, 5])
    for _ in range(_TRIES):
        view = scene.propose(rng)
        if field_of_view is not None:
            view = dataclasses.replace(view, focal=focal_between(field_of_view, lenses))
        camera = camera_of(view.focal, rng, *size)
        if scene.stage.clear(view.pose.position, scene.limits.near * 0.6) and _useful(scene, view, camera):
            return view, camera
    return None


def _useful(scene: Scene, view: View, camera: Camera) -> bool:
    depth = scene.stage.depth(camera.resized(*_PREVIEW), view.pose)
    seen = depth[depth < FAR]
    if seen.size < 0.05 * depth.size or np.percentile(seen, 2) < scene.limits.near:
        return False
    low, middle, high = np.percentile(seen, [5, 50, 95])
    return bool(scene.limits.median_low <= middle <= scene.limits.median_high and high > 1.12 * low)


def _photograph(scene: Scene, found: tuple[View, Camera], seed: int, width: int, height: int) -> Sample:
    view, camera = found
    rng = np.random.default_rng([seed, 3])
    shot = scene.stage.photograph(camera, view.pose, rng)
    photo = Photo(Path(f"{scene.domain}/{seed:08d}"), develop(shot.radiance, np.isfinite(shot.depth), rng), camera)
    depth = np.where(shot.depth > FAR, np.float32(np.inf), shot.depth)
    normals = np.where(np.isfinite(depth)[..., None], shot.normals, np.float32(np.nan))
    return Sample(photo, DepthMap(depth, camera, None, normals), scene.domain, sparse=False)
