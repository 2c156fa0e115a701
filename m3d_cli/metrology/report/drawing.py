"""The photo with its measurements drawn on it: lines with end ticks as in a technical drawing, and boxed values."""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from m3d_cli.metrology.measurands import REGIONS
from m3d_cli.metrology.report.content import PhotoReport
from m3d_cli.metrology.report.tables import shown_unit, value_text

# The longest side of the image is between these, in pixels: labels need room.
SHORTEST, LONGEST = 1200, 1600
# Drawn this many times larger and then averaged down, which smooths the lines.
FINENESS = 2
QUALITY = 88

# Colours that stay apart on photos and for colour-blind eyes (Okabe and Ito, brightened).
COLOURS = ((255, 176, 0), (86, 200, 255), (120, 230, 130), (255, 120, 90), (230, 150, 255), (250, 240, 90))
REFERENCE_COLOUR = (255, 255, 255)
FAILED_COLOUR = (200, 200, 200)
INK = (20, 20, 24)

# A character that no font has.
_NO_GLYPH = "\uffff"

Point = tuple[float, float]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Mark:
    """One thing to draw: its outlines, whether they are areas, and its label."""

    outlines: tuple[tuple[Point, ...], ...]
    colour: Colour
    label: str
    is_area: bool = False
    is_dashed: bool = False


def annotated(image: NDArray[np.uint8], size: tuple[int, int], report: PhotoReport) -> bytes:
    """JPEG of the photo ``image`` (H, W, 3) with the report's lines, whose points are in an image of ``size``."""
    factor = min(max(SHORTEST, max(size)), LONGEST) / max(size)
    shown = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
    fine = (shown[0] * FINENESS, shown[1] * FINENESS)
    canvas = Image.fromarray(image).resize(fine, Image.Resampling.BILINEAR).convert("RGBA")
    marks = _marks(report, (fine[0] / size[0], fine[1] / size[1]))
    unit = max(fine) / 800
    canvas = _with_areas(canvas, marks)
    pen = ImageDraw.Draw(canvas)
    for mark in marks:
        _draw_outlines(pen, mark, unit)
    _draw_labels(pen, marks, fine, unit)
    return jpeg_of(np.asarray(canvas.convert("RGB").resize(shown, Image.Resampling.BOX)))


def jpeg_of(image: NDArray[np.uint8]) -> bytes:
    """An RGB image as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def _marks(report: PhotoReport, scale: tuple[float, float]) -> list[_Mark]:
    marks = []
    for number, row in enumerate(report.measurements, 1):
        if not row.points:
            continue
        outline, split = _scaled(row.points, scale), row.first_region
        outlines = (outline[:split], outline[split:]) if split else (outline,)
        name = _readable(row.name, f"#{number}")
        value = f"{name}  {value_text(row)} {_drawable(shown_unit(row.unit))}"
        colour = COLOURS[(number - 1) % len(COLOURS)] if row.error is None else FAILED_COLOUR
        label = value if row.error is None else f"{name}: not measured"
        marks.append(_Mark(outlines, colour, label, is_area=row.kind in REGIONS))
    if report.reference is not None:
        for name, points in zip(report.reference.names, report.reference.points, strict=True):
            label = _readable(name, "reference")
            marks.append(_Mark((_scaled(points, scale),), REFERENCE_COLOUR, label, is_dashed=True))
        for plane in report.reference.planes:
            closed = tuple(_scaled((*outline, outline[0]), scale) for outline in plane.outlines)
            label = _readable(plane.name, "plane")
            marks.append(_Mark(closed, REFERENCE_COLOUR, label, is_dashed=True))
    return marks


def _scaled(points: Sequence[Point], scale: tuple[float, float]) -> tuple[Point, ...]:
    # Points of a refused measurement may lie anywhere.
    limit = 1e5
    return tuple((max(-limit, min(limit, u * scale[0])), max(-limit, min(limit, v * scale[1]))) for u, v in points)


def _with_areas(canvas: Image.Image, marks: Sequence[_Mark]) -> Image.Image:
    layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    for mark in marks:
        for outline in mark.outlines:
            if mark.is_area and len(outline) > 2:
                pen.polygon(outline, fill=(*mark.colour, 64))
    return Image.alpha_composite(canvas, layer)


def _draw_outlines(pen: ImageDraw.ImageDraw, mark: _Mark, unit: float) -> None:
    """Lines with short strokes across both ends, and dots at the points, each with a dark rim."""
    dark, bright = max(1, round(4.2 * unit)), max(1, round(2.2 * unit))
    for outline in mark.outlines:
        closed = (*outline, outline[0]) if mark.is_area and len(outline) > 2 else outline
        for colour, width in ((INK, 4.2 * unit), (mark.colour, 2.2 * unit)):
            for one, other in pairwise(closed):
                _draw_segment(pen, one, other, (colour, width), is_dashed=mark.is_dashed)
        if len(closed) == 2 and (length := math.dist(*closed)) > 0:
            (u1, v1), (u2, v2) = closed
            across = (-(v2 - v1) / length * 8 * unit, (u2 - u1) / length * 8 * unit)
            for u, v in closed:
                ends = (u - across[0], v - across[1], u + across[0], v + across[1])
                pen.line(ends, fill=INK, width=dark)
                pen.line(ends, fill=mark.colour, width=bright)
        for u, v in outline:
            for radius, fill in ((4.4 * unit, INK), (3.2 * unit, mark.colour), (1.2 * unit, INK)):
                pen.ellipse((u - radius, v - radius, u + radius, v + radius), fill=fill)


def _draw_segment(
    pen: ImageDraw.ImageDraw, one: Point, other: Point, style: tuple[Colour, float], *, is_dashed: bool
) -> None:
    colour, width = style
    # The dashes of a line far outside the image are not counted without limit.
    count = min(400, max(1, round(math.dist(one, other) / (width * 3)))) if is_dashed else 1
    for index in range(0, count, 2):
        ends = [
            one[axis] + (other[axis] - one[axis]) * share
            for share in (index / count, (index + 1) / count)
            for axis in (0, 1)
        ]
        pen.line(ends, fill=colour, width=max(1, round(width)))


Box = tuple[float, float, float, float]


def _draw_labels(pen: ImageDraw.ImageDraw, marks: Sequence[_Mark], size: tuple[int, int], unit: float) -> None:
    font = _font(round(15 * unit))
    taken: list[Box] = []
    for mark in marks:
        left, top, right, bottom = pen.textbbox((0, 0), mark.label, font=font)
        margin = 5 * unit
        box = _free_place(mark, (right - left + 2 * margin, bottom - top + 2 * margin), size, taken)
        taken.append(box)
        pen.rounded_rectangle(box, radius=4 * unit, fill=INK, outline=mark.colour, width=max(1, round(unit)))
        pen.text((box[0] + margin - left, box[1] + margin - top), mark.label, font=font, fill=mark.colour)


def _free_place(mark: _Mark, label: Point, size: tuple[int, int], taken: Sequence[Box]) -> Box:
    """The nearest place to the middle of a line, or the centre of an area, where a label of that size covers no other
    and stays in the image: above what is wider than high, else beside it.
    """
    points = [point for outline in mark.outlines for point in outline]
    across, down = ([point[axis] for point in points] for axis in (0, 1))
    anchor = sum(across) / len(points), sum(down) / len(points)
    if not mark.is_area and len(points) > 2:
        anchor = points[len(points) // 2]
    beside, above = [(0.15, -0.5), (-1.15, -0.5)], [(-0.5, -1.5), (-0.5, 0.5)]
    is_flat = max(across) - min(across) > max(down) - min(down)
    places = above + beside if is_flat else beside + above
    places += [(dx, dy) for ring in range(2, 9) for dx in (-0.5, 0.6, -1.6) for dy in (ring, -ring)]
    boxes = []
    for dx, dy in places:
        left = max(2.0, min(anchor[0] + dx * label[0], size[0] - label[0] - 2))
        top = max(2.0, min(anchor[1] + dy * label[1], size[1] - label[1] - 2))
        boxes.append((left, top, left + label[0], top + label[1]))
    return next((box for box in boxes if not any(_overlap(box, other) for other in taken)), boxes[0])


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _readable(name: str, instead: str) -> str:
    """The name, or ``instead`` where the font has no glyphs for it; cut where it is long."""
    line = _drawable(" ".join(name.split()))
    short = line if len(line) <= 28 else f"{line[:27]}..."
    return short if short and all(_has_glyph(character) for character in short) else instead


def _drawable(text: str) -> str:
    """The text with glyphs that the font lacks in their plain form, where there is one: e for é, 2 for ²."""
    return "".join(each if _has_glyph(each) else _plain(each) for each in text)


def _plain(character: str) -> str:
    letters = "".join(each for each in unicodedata.normalize("NFKD", character) if not unicodedata.combining(each))
    return letters if letters and all(map(_has_glyph, letters)) else character


@cache
def _has_glyph(character: str) -> bool:
    font = _font(24)
    missing, mask = font.getmask(_NO_GLYPH), font.getmask(character)
    return character == " " or mask.size != missing.size or bytes(mask) != bytes(missing)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(8, size))
