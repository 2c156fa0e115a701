"""Draws the light of a scene: lamps and windows indoors, sun and sky outdoors."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from m3d_cli.datasets.render import Lamp, Lighting, Sky

Triple = tuple[float, float, float]
_DARK: Triple = (0.0, 0.0, 0.0)


def _triple(values: NDArray[np.float64]) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])


def white(rng: np.random.Generator) -> NDArray[np.float64]:
    """Colour of a white light, mean 1, from candle-warm to sky-blue."""
    warmth = rng.normal(0.08, 0.16)
    colour = np.array([1 + warmth, 1.0, 1 - warmth * 1.3]).clip(0.3)
    return np.asarray(colour / colour.mean())


def daylight(rng: np.random.Generator, indoors: bool = False) -> Sky:
    """A sky with or without sun; indoors it is only what a window shows."""
    sunny = rng.random() < 0.65
    azimuth, height = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(12, 75))
    sun = (math.cos(azimuth) * math.cos(height), math.sin(azimuth) * math.cos(height), math.sin(height))
    warm = np.array([1.0, 0.97, 0.9]) if height > 0.5 else np.array([1.0, 0.85, 0.65])
    power = rng.uniform(1.5, 3.5) if sunny else 0.0
    if sunny:
        zenith, horizon = np.array([0.25, 0.45, 0.9]) * rng.uniform(0.5, 1), np.array([0.75, 0.85, 1.0])
    else:
        zenith = horizon = np.array([0.88, 0.9, 0.93]) * rng.uniform(0.7, 1)
    return Sky(
        sun=sun,
        sun_colour=_triple(warm * power * (0.0 if indoors and rng.random() < 0.4 else 1.0)),
        zenith=_triple(zenith),
        horizon=_triple(horizon),
        clouds=float(rng.uniform(0.2, 0.7)) if rng.random() < 0.6 else 0.0,
        haze=0.0 if indoors else float(rng.choice([0.0, 0.0, 0.0005, 0.001, 0.003])),
        brightness=float(rng.uniform(1.0, 2.5) * (3 if indoors else 1)),
        seed=int(rng.integers(2**31)),
    )


def outdoors(rng: np.random.Generator) -> Lighting:
    """Sun or overcast, light of the sky from above, a little back from the ground."""
    sky = daylight(rng)
    up = np.array(sky.zenith) * rng.uniform(0.4, 0.8) + np.array(sky.horizon) * rng.uniform(0.2, 0.5)
    ground = up * rng.uniform(0.25, 0.55)
    return Lighting((), sky, _triple(up), _triple(ground), 2.0)


def indoors(rng: np.random.Generator, width: float, depth: float, height: float, contact: float = 0.5) -> Lighting:
    """One to three lamps below the ceiling of a room centred on the origin, and light from all sides."""
    lamps = []
    colour = white(rng)
    for _ in range(rng.integers(1, 4)):
        x, y = rng.uniform(-0.4, 0.4) * width, rng.uniform(-0.4, 0.4) * depth
        z = height - rng.uniform(0.1, 0.5)
        power = colour * rng.uniform(0.4, 1.4) * z**2
        lamps.append(Lamp((float(x), float(y), float(z)), float(rng.uniform(0.1, 0.5)), _triple(power)))
    level = colour * rng.uniform(0.2, 0.7) * np.exp(rng.normal(0, 0.05, 3))
    return Lighting(
        tuple(lamps), daylight(rng, indoors=True), _triple(level), _triple(level * rng.uniform(0.4, 0.9)), contact
    )
