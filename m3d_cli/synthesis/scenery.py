"""A scene under construction: parts, textures, taken ground and the light; and where cameras may stand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3d_cli.camera import Camera, FocalSource
from m3d_cli.synthesis import mesh
from m3d_cli.synthesis.assets import AssetLibrary, Model
from m3d_cli.synthesis.mesh import Part
from m3d_cli.synthesis.render import Lighting, Pose, Stage
from m3d_cli.synthesis.texture import Surface

FAR = 250.0  # metres; what lies beyond counts as beyond everything
FAR_AWAY = 12.0  # metres from the nearest place for a camera
Rect = tuple[float, float, float, float]  # x0, y0, x1, y1 in metres


@dataclass(frozen=True, slots=True)
class View:
    """A proposed camera: focal length in image widths, position, where it looks (yaw, pitch, roll in radians).

    Yaw 0 looks along +y and grows to the left; pitch is positive upwards.
    """

    focal: float
    position: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float

    @property
    def pose(self) -> Pose:
        """The same as a rotation world_from_camera."""
        return Pose(np.array(self.position), rotation(self.yaw, self.pitch, self.roll))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a useful image shows, in metres: 2nd percentile of depth at least ``near``, median between two bounds."""

    near: float
    median_low: float
    median_high: float


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A finished scene: its domain, the stage, how to draw a view of it, and what a good view looks like."""

    domain: str
    stage: Stage
    propose: Callable[[np.random.Generator], View]
    limits: Limits


def focal_between(field_of_view: tuple[float, float], rng: np.random.Generator) -> float:
    """A focal length in image widths, even by its logarithm between two horizontal angles in degrees."""
    long, short = (1 / (2 * math.tan(math.radians(angle) / 2)) for angle in field_of_view)
    return float(short * (long / short) ** rng.random())


def camera_of(focal: float, rng: np.random.Generator, width: int, height: int) -> Camera:
    """A camera of ``focal`` image widths whose principal point lies a little off the middle, as in real ones."""
    cx, cy = (0.5 + rng.normal(0, 0.012, 2)) * (width, height)
    return Camera(width, height, focal * width, focal * width, float(cx), float(cy), FocalSource.CALIBRATION, 0.005)


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """World_from_camera (3, 3): camera axes x right, y down, z forward; world z up."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    forward = np.array([-sy * cp, cy * cp, sp])
    right = np.array([cy, sy, 0.0])
    down = np.cross(forward, right)
    c, s = math.cos(roll), math.sin(roll)
    return np.stack([c * right + s * down, -s * right + c * down, forward], axis=1)


def towards(position: Sequence[float], target: Sequence[float]) -> tuple[float, float]:
    """Yaw and pitch that look from one point to another."""
    dx, dy, dz = (t - p for t, p in zip(target, position, strict=True))
    return math.atan2(-dx, dy), math.atan2(dz, math.hypot(dx, dy))


def tint(rng: np.random.Generator, strength: float = 0.35) -> NDArray[np.float64]:
    """A colour factor (3,) that makes two copies of a model differ."""
    return np.asarray(np.exp(rng.normal(0, strength) + rng.normal(0, strength * 0.4, 3)).clip(0.3, 1.6))


def footprint(model: Model, x: float, y: float, yaw: float, margin: float = 0.0) -> Rect:
    """Ground covered by a model turned by ``yaw``."""
    c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
    half_x = (model.size[0] * c + model.size[1] * s) / 2 + margin
    half_y = (model.size[0] * s + model.size[1] * c) / 2 + margin
    return x - half_x, y - half_y, x + half_x, y + half_y


def overlaps(a: Rect, b: Rect) -> bool:
    """Whether two rectangles share ground."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class Scenery:
    """Collects what a scene is made of; ``stage`` closes it."""

    def __init__(self, library: AssetLibrary, rng: np.random.Generator, zone: Rect | None = None) -> None:
        self.library = library
        self.rng = rng
        self.zone = zone  # where cameras may be; None: anywhere
        self.taken: list[Rect] = []
        self._parts: list[Part] = []
        self._textures: list[NDArray[np.uint8]] = []

    def is_far(self, x: float, y: float) -> bool:
        """Whether every camera is so far from (x, y) that fine detail is lost."""
        if self.zone is None:
            return False
        x0, y0, x1, y1 = self.zone
        return math.hypot(max(x0 - x, 0, x - x1), max(y0 - y, 0, y - y1)) > FAR_AWAY

    def choose(self, models: Sequence[Model]) -> Model | None:
        """One of ``models``, or None when the library has none."""
        return models[int(self.rng.integers(len(models)))] if models else None

    def texture(self, image: NDArray[np.uint8]) -> int:
        """Index of a new texture for this scene."""
        self._textures.append(image)
        return len(self.library.textures) + len(self._textures) - 1

    def surface(self, kind: Surface) -> tuple[int, float]:
        """Texture index and tile width of a procedural surface."""
        return self.texture(kind.image), kind.width

    def swatch(self, category: str, *words: str) -> tuple[int, float] | None:
        """Texture index and tile width of one of the library's own surfaces."""
        fitting = [
            s
            for s in self.library.swatches
            if s.category == category and (not words or any(word in s.name for word in words))
        ]
        if not fitting:
            return None
        found = fitting[int(self.rng.integers(len(fitting)))]
        return found.texture, found.width * float(self.rng.uniform(1.0, 2.5))

    def add(self, part: Part) -> None:
        """Put a part where its vertices say."""
        self._parts.append(part)

    def free(self, rect: Rect) -> bool:
        """Whether nothing stands on ``rect`` yet."""
        return not any(overlaps(rect, other) for other in self.taken)

    def put(
        self,
        model: Model,
        x: float,
        y: float,
        z: float = 0.0,
        yaw: float = 0.0,
        *,
        colour: float = 0.3,
        scale: float = 1.0,
    ) -> None:
        """Stand a model at (x, y, z); far from every camera its simpler copy does."""
        part = self.library.part(model.index, coarse=self.is_far(x, y))
        self.add(part.tinted(tint(self.rng, colour)).placed(x, y, z, yaw, scale))

    def stand(
        self,
        model: Model,
        x: float,
        y: float,
        yaw: float = 0.0,
        *,
        z: float = 0.0,
        margin: float = 0.03,
        colour: float = 0.3,
    ) -> bool:
        """Stand a model on free ground and take that ground; False when it does not fit."""
        rect = footprint(model, x, y, yaw, margin)
        if not self.free(rect):
            return False
        self.taken.append(rect)
        self.put(model, x, y, z, yaw, colour=colour)
        return True

    def stage(self, lighting: Lighting) -> Stage:
        """The scene as one mesh with only the textures that it uses."""
        whole, used = mesh.merge(self._parts).renumbered()
        first = len(self.library.textures)
        stack = np.stack([self.library.textures[i] if i < first else self._textures[i - first] for i in used])
        return Stage(whole, stack, lighting)
