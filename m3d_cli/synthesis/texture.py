"""Procedural surface textures, all 128 x 128 RGBA and seamless, and the mip pyramid the renderer reads."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 128
LEVELS = 8  # 128, 64, ... 1
LEVEL_START = np.cumsum([0, *[(SIZE >> level) ** 2 for level in range(LEVELS - 1)]]).astype(np.int64)

Colour = NDArray[np.float64]  # (3,) sRGB 0..1


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A repeating texture (128, 128, 4) and its true width in metres."""

    image: NDArray[np.uint8]
    width: float


def pyramid(stack: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every level of every texture in a row: (T, 21845, 4)."""
    levels, image = [stack], stack
    while image.shape[1] > 1:
        total = image[:, ::2, ::2].astype(np.uint16) + image[:, 1::2, ::2] + image[:, ::2, 1::2] + image[:, 1::2, 1::2]
        image = ((total + 2) // 4).astype(np.uint8)
        levels.append(image)
    return np.concatenate([level.reshape(len(stack), -1, 4) for level in levels], axis=1)


@functools.cache
def _frequency() -> NDArray[np.float64]:
    f = np.fft.fftfreq(SIZE)
    return np.asarray(np.hypot(f[:, None], f[None, : SIZE // 2 + 1]) * SIZE + 1.0)


def noise(rng: np.random.Generator, slope: float, stretch: float = 1.0) -> NDArray[np.float64]:
    """Seamless noise (128, 128), mean 0, deviation 1; power falls with frequency to the ``slope``.

    ``stretch`` above 1 draws it out along x, like wood grain.
    """
    frequency = _frequency()
    if stretch != 1.0:
        f = np.fft.fftfreq(SIZE) * SIZE
        frequency = np.hypot(f[:, None] / stretch, f[None, : SIZE // 2 + 1] * stretch) + 1.0
    spectrum = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
    field = np.fft.irfft2(spectrum / frequency**slope, s=(SIZE, SIZE))
    return np.asarray((field - field.mean()) / (field.std() + 1e-9))


def paint(colour: Colour, relief: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colour (3,) or image (128, 128, 3) times 1 + relief (128, 128), as opaque RGBA."""
    picture = np.clip(colour * (1 + relief[..., None]) * 255, 0, 255)
    out = np.full((SIZE, SIZE, 4), 255, dtype=np.uint8)
    out[..., :3] = picture
    return out


def any_colour(rng: np.random.Generator, vivid: float = 0.5) -> Colour:
    """A random colour; ``vivid`` is the largest saturation."""
    hue, saturation = rng.uniform(0, 6), rng.uniform(0, vivid)
    value = rng.uniform(0.12, 0.95)
    ramp = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return np.asarray(value * (1 - saturation + saturation * ramp))


def wall_colour(rng: np.random.Generator) -> Colour:
    """What people paint walls with: mostly light, now and then strong."""
    if rng.random() < 0.75:
        tone = rng.uniform(0.6, 0.95) + rng.normal(0, 0.03, 3) + np.array([0.02, 0.0, -0.04])
        return np.asarray(tone.clip(0, 1))
    return any_colour(rng, 0.6)


def wood_colour(rng: np.random.Generator) -> Colour:
    """From birch to wenge."""
    light = rng.uniform(0.2, 0.85)
    return np.asarray(light * np.array([1.0, rng.uniform(0.7, 0.88), rng.uniform(0.4, 0.72)]))


def plaster(rng: np.random.Generator) -> Surface:
    """Painted or rough wall."""
    relief = noise(rng, rng.uniform(0.2, 1.2)) * rng.choice([0.004, 0.01, 0.02, 0.05])
    return Surface(paint(wall_colour(rng), relief), float(rng.uniform(0.6, 2.5)))


def planks(rng: np.random.Generator) -> Surface:
    """Wooden boards."""
    rows = int(rng.choice([4, 8, 16]))
    height = SIZE // rows
    relief = noise(rng, 0.9, 5.0) * rng.uniform(0.03, 0.12)
    relief += np.repeat(rng.normal(0, rng.uniform(0.03, 0.14), rows), height)[:, None]
    relief[::height] -= rng.uniform(0.1, 0.5)
    for row in range(rows):
        relief[row * height : (row + 1) * height, rng.integers(SIZE)] -= 0.3
    return Surface(paint(wood_colour(rng), relief), rows * float(rng.uniform(0.07, 0.19)))


def grain(rng: np.random.Generator) -> Surface:
    """A plain wooden, laminate or stone board for furniture tops."""
    colour = wood_colour(rng) if rng.random() < 0.65 else any_colour(rng, 0.25)
    relief = noise(rng, rng.uniform(0.5, 1.2), float(rng.choice([1.0, 4.0, 7.0]))) * rng.uniform(0.005, 0.12)
    return Surface(paint(colour, relief), float(rng.uniform(0.25, 0.9)))


def tiles(rng: np.random.Generator) -> Surface:
    """Square tiles with grout, one or two colours."""
    count = int(rng.choice([2, 4, 8]))
    step = SIZE // count
    shade = rng.normal(0, rng.uniform(0.0, 0.08), (count, count))
    if rng.random() < 0.2:
        shade = shade + np.indices((count, count)).sum(axis=0) % 2 * rng.uniform(-0.6, -0.2)
    relief = np.kron(shade, np.ones((step, step))) + noise(rng, 1.0) * rng.uniform(0.0, 0.05)
    joint = rng.uniform(-0.5, 0.2)
    width = 1 if rng.random() < 0.6 else 2
    for k in range(width):
        relief[k::step] = joint
        relief[:, k::step] = joint
    colour = wall_colour(rng) if rng.random() < 0.5 else any_colour(rng, 0.35)
    return Surface(paint(colour, relief), count * float(rng.choice([0.1, 0.15, 0.3, 0.45, 0.6])))


def bricks(rng: np.random.Generator) -> Surface:
    """Brickwork in running bond; rows of 6.5 to 9 cm."""
    rows, columns = 16, 4
    high, wide = SIZE // rows, SIZE // columns
    relief = noise(rng, 0.5) * 0.05
    mortar = rng.uniform(-0.4, 0.5)
    for row in range(rows):
        band = slice(row * high, (row + 1) * high)
        relief[band] += np.roll(np.repeat(rng.normal(0, 0.12, columns), wide), row % 2 * wide // 2)
        relief[row * high] = mortar
        for column in range(columns):
            relief[band, (column * wide + row % 2 * wide // 2) % SIZE] = mortar
    clay = np.array([rng.uniform(0.4, 0.7), rng.uniform(0.25, 0.45), rng.uniform(0.18, 0.35)])
    colour = clay if rng.random() < 0.6 else wall_colour(rng)
    return Surface(paint(colour, relief), rows * float(rng.uniform(0.065, 0.09)))


def carpet(rng: np.random.Generator) -> Surface:
    """Fine-grained floor covering or cloth, sometimes striped or checked."""
    relief = noise(rng, rng.uniform(0.0, 0.5)) * rng.uniform(0.03, 0.15)
    if rng.random() < 0.4:
        bands = int(rng.choice([2, 4, 8, 16]))
        stripes = np.repeat(rng.normal(0, 0.3, bands), SIZE // bands)
        relief = relief + stripes[:, None] + (stripes[None] if rng.random() < 0.5 else 0)
    return Surface(paint(any_colour(rng, 0.6), np.clip(relief, -0.9, 1.5)), float(rng.uniform(0.3, 1.2)))


def asphalt(rng: np.random.Generator) -> Surface:
    """Road surface, dark to light grey."""
    grey = rng.uniform(0.22, 0.6) + rng.normal(0, 0.012, 3)
    relief = noise(rng, 0.15) * rng.uniform(0.04, 0.14) + noise(rng, 1.2) * rng.uniform(0.01, 0.06)
    return Surface(paint(grey, relief), float(rng.uniform(1.5, 4.0)))


def grass(rng: np.random.Generator) -> Surface:
    """Lawn to dry meadow."""
    colour = np.array([rng.uniform(0.18, 0.5), rng.uniform(0.3, 0.52), rng.uniform(0.08, 0.2)])
    relief = noise(rng, rng.uniform(0.3, 1.0)) * rng.uniform(0.15, 0.35)
    return Surface(paint(colour, relief), float(rng.uniform(1.0, 4.0)))


def print_(rng: np.random.Generator, vivid: float = 0.9) -> NDArray[np.uint8]:
    """A poster, label, book cover or box: patches, stripes, circles and words."""
    image = np.empty((SIZE, SIZE, 3), dtype=np.uint8)
    image[:] = any_colour(rng, vivid) * 255
    if rng.random() < 0.3:
        photo = np.stack([noise(rng, 1.5) for _ in range(3)], axis=-1) * 45 + any_colour(rng, 0.6) * 255
        image = np.ascontiguousarray(np.clip(photo, 0, 255).astype(np.uint8))
    for _ in range(rng.integers(2, 8)):
        ink = [int(c * 255) for c in any_colour(rng, vivid)]
        a, b = rng.integers(0, SIZE, 2), rng.integers(0, SIZE, 2)
        if rng.random() < 0.65:
            cv2.rectangle(image, a.tolist(), b.tolist(), ink, -1)
        else:
            cv2.circle(image, a.tolist(), int(rng.integers(5, 40)), ink, -1)
    for _ in range(rng.integers(1, 9)):
        word = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUVWXYZaeiou0123456789 "), rng.integers(3, 14)))
        at = (int(rng.integers(0, 60)), int(rng.integers(12, SIZE)))
        ink = [int(c * 255) for c in any_colour(rng, 0.8)]
        cv2.putText(
            image, word, at, int(rng.integers(0, 4)), float(rng.uniform(0.3, 1.2)), ink, 1 + (rng.random() < 0.3)
        )
    return paint(image / 255.0, np.zeros((SIZE, SIZE)))


def page(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Printed paper or a screen with windows and lines of text."""
    dark = rng.random() < 0.35
    image = np.full((SIZE, SIZE, 3), 30 if dark else 240, dtype=np.uint8)
    if dark:
        image[:] = any_colour(rng, 0.7) * 120
    for _ in range(rng.integers(1, 4)):
        x, y = rng.integers(0, 80, 2)
        w, h = rng.integers(25, 110, 2)
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), (any_colour(rng, 0.5) * 255).tolist(), -1)
    ink = (any_colour(rng, 0.3) * (255 if dark else 90)).tolist()
    for y in range(10, SIZE - 6, int(rng.integers(4, 9))):
        if rng.random() < 0.75:
            x0 = int(rng.integers(6, 30))
            cv2.line(image, (x0, y), (x0 + int(rng.integers(15, 90)), y), ink, 1 + int(rng.random() < 0.2))
    return paint(image / 255.0, np.zeros((SIZE, SIZE)))


_FLOORS = (planks, planks, tiles, carpet, carpet, grain)
_WALLS = (plaster,) * 12 + (bricks, tiles, tiles, grain)
_PAVEMENTS = (tiles, asphalt, bricks, asphalt)
_FACADES = (plaster, plaster, bricks, bricks, tiles)


def pick(rng: np.random.Generator, makers: Sequence[Callable[[np.random.Generator], Surface]]) -> Surface:
    """A texture from one of several makers."""
    return makers[int(rng.integers(len(makers)))](rng)


def floor(rng: np.random.Generator) -> Surface:
    """Any indoor floor."""
    return pick(rng, _FLOORS)


def wall(rng: np.random.Generator) -> Surface:
    """Any indoor wall."""
    return pick(rng, _WALLS)


def pavement(rng: np.random.Generator) -> Surface:
    """Anything one walks on outside."""
    return pick(rng, _PAVEMENTS)


def facade(rng: np.random.Generator) -> Surface:
    """Outer wall of a house."""
    return pick(rng, _FACADES)
