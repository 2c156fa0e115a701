"""Draws the light of a scene: lamps and windows indoors, sun and sky outdoors."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from m3d_cli.synthesis.render import Lamp, Lighting, Sky

Triple = tuple[float, float, float]
# Filament, warm white, neutral, cool: what is sold for rooms.
_LAMP_KELVIN = (2700, 2700, 3000, 3000, 4000, 5000, 6500)
# Chromaticity of glowing bodies, below and from 4000 K: x by 1000 / kelvin, y by x; highest powers first.
_LOCUS = (
    ((-0.2661239, -0.2343589, 0.8776956, 0.179910), (-0.9549476, -1.37418593, 2.09137015, -0.16748867)),
    ((-3.0258469, 2.1070379, 0.2226347, 0.240390), (3.0817580, -5.87338670, 3.75112997, -0.37001483)),
)
_SRGB_FROM_XYZ = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])


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


def of_temperature(kelvin: float) -> NDArray[np.float64]:
    """Linear sRGB of a glowing body, mean 1, for 2,222 to 25,000 K (cubic fits of Kim et al., US 7024034)."""
    to_x, to_y = _LOCUS[kelvin >= 4000]
    x = np.polyval(to_x, 1000.0 / kelvin)
    y = np.polyval(to_y, x)
    xyz = np.array([x / y, 1.0, (1 - x - y) / y])
    rgb = (_SRGB_FROM_XYZ @ xyz).clip(0.02)
    return np.asarray(rgb / rgb.mean())


def many_lamps(lighting: Lighting, rng: np.random.Generator) -> Lighting:
    """The light of a room with every lamp in a colour of its own, larger and so with softer shadows, and mostly a
    window whose cooler light comes from one side.

    Nothing but the light changes: geometry and cameras of an image stay. Outdoor light is returned as it is.
    """
    if not lighting.lamps:
        return lighting
    lamps = [_recoloured(lamp, rng) for lamp in lighting.lamps]
    if rng.random() < 0.6:
        dimmed = [dataclasses.replace(lamp, power=_triple(0.5 * np.asarray(lamp.power))) for lamp in lamps]
        lamps = [*dimmed, _window(lighting, rng)]
    return dataclasses.replace(lighting, lamps=tuple(lamps))


def _recoloured(lamp: Lamp, rng: np.random.Generator) -> Lamp:
    colour = of_temperature(float(rng.choice(_LAMP_KELVIN)) * float(rng.uniform(0.93, 1.07)))
    return dataclasses.replace(
        lamp, radius=lamp.radius * float(rng.uniform(1.0, 2.5)), power=_triple(colour * np.mean(lamp.power))
    )


def _window(lighting: Lighting, rng: np.random.Generator) -> Lamp:
    """A large glow at breast height beyond the lamps, on one of four sides."""
    x, y = (1.1 * max(abs(lamp.position[axis]) for lamp in lighting.lamps) for axis in (0, 1))
    side = float(rng.choice([-1, 1]))
    place = (side * x, float(rng.uniform(-y, y))) if rng.random() < 0.5 else (float(rng.uniform(-x, x)), side * y)
    colour = of_temperature(float(rng.uniform(5000, 9000))) * float(rng.uniform(0.8, 2.5))
    return Lamp((*place, float(rng.uniform(1.2, 1.7))), float(rng.uniform(0.4, 0.8)), _triple(colour))
