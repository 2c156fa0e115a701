"""One HTML file of the worst images: photo, true and predicted depth in the same colours, and the error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.datasets.frame import Frame
from m3d_cli.evaluation.alignment import align
from m3d_cli.evaluation.results import Run
from m3d_cli.evaluation.scoring import ImageScores, Predict, counted_pixels, worst
from m3d_cli.evaluation.tables import protocol_lines
from m3d_cli.formats.previews import PreviewStyle, render_preview
from m3d_cli.html_pages import environment, inline, jpeg_uri

# Width in pixels of each image on the page.
WIDTH = 420
JPEG_QUALITY = 82
# ln of the ratio at which the error's colours end: too near is blue, too far is red.
ERROR_SPAN = 0.5
# Sparse points are drawn this many pixels wide to be visible.
DOT = 3
GREY = 235

# Scores in the table of each image, and their titles.
COLUMNS = {"abs_rel": "AbsRel", "rmse": "RMSE (m)", "silog": "SILog", "delta1": "d1", "ln_scale": "ln scale"}

_HERE = "m3d_cli.evaluation"


@dataclass(frozen=True, slots=True)
class _Section:
    """One image of the page: its scores, and pairs of a caption and a JPEG."""

    scores: ImageScores
    figures: tuple[tuple[str, bytes], ...]


def worst_page(run: Run, frames: Sequence[Frame], predict: Predict, count: int) -> str:
    """The page of the ``count`` worst images under the first alignment; each is read and predicted once more."""
    alignment = run.protocol.alignments[0]
    known = {(frame.source, frame.name): frame for frame in frames}
    pages = environment(_HERE)
    pages.filters["jpeg"] = jpeg_uri
    return pages.get_template("worst.html").render(
        title=f"Worst images of {run.name} on {run.layout}",
        style=inline(_HERE, "worst.css"),
        protocol=protocol_lines(run.protocol.preset, [alignment]),
        alignment=alignment,
        full_colour=100 * (np.exp(ERROR_SPAN) - 1),
        columns=COLUMNS,
        sections=[
            _section(known[image.source, image.name], image, predict, run)
            for image in worst(run.images, count, alignment)
        ],
    )


def _section(frame: Frame, image: ImageScores, predict: Predict, run: Run) -> _Section:
    truth, predicted, error = _maps(frame, predict(frame), run)
    known = truth[np.isfinite(truth)]
    low, high = (float(x) for x in np.percentile(known, (2, 98)))
    style = PreviewStyle(vmin=max(low, 1e-3), vmax=max(high, low * 1.01, 2e-3))
    colours = f"red {style.vmin:.3g} m, blue {style.vmax:.3g} m"
    figures = (
        ("photo", _jpeg(_small(frame.read_image()))),
        (f"true depth that counts: {colours}", _jpeg(_coloured(truth, style, frame.sparse))),
        (f"predicted depth: {colours}", _jpeg(_coloured(predicted, style, sparse=False))),
        (f"ln of predicted over true, {image.pixels} pixels", _jpeg(_error_colours(error, frame.sparse))),
    )
    return _Section(image, figures)


def _maps(
    frame: Frame, prediction: NDArray[np.float32], run: Run
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """True depth where it counts, predicted depth, and ln of their ratio where the truth counts (all H, W)."""
    truth = frame.truth()
    mask = run.protocol.preset.mask(truth)
    predicted, true, _ = counted_pixels(prediction, truth, run.protocol.preset)
    error = np.full(truth.shape, np.nan, dtype=np.float32)
    error[mask] = np.log(align(predicted, true, run.protocol.alignments[0]) / true)
    return np.where(mask, truth, np.float32(np.nan)), prediction, error


def _coloured(depth: NDArray[np.float32], style: PreviewStyle, sparse: bool) -> NDArray[np.uint8]:
    """The depth in colours, without the colour bar: the caption gives its ends."""
    values = _as_dots(depth) if sparse else depth
    height, width = values.shape
    if width > WIDTH:
        values = np.asarray(cv2.resize(values, _size(height, width), interpolation=cv2.INTER_NEAREST), dtype=np.float32)
    return _small(render_preview(values, style)[: values.shape[0], : values.shape[1]])


def _as_dots(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sparse values (H, W) as dots; where two meet, the larger."""
    filled = np.where(np.isfinite(values), values, np.float32(-1e9))
    size = max(DOT, DOT * values.shape[1] // WIDTH)
    grown = np.asarray(cv2.dilate(filled, np.ones((size, size), dtype=np.uint8)), dtype=np.float32)
    return np.where(grown > -1e8, grown, np.float32(np.nan))


def _error_colours(error: NDArray[np.float32], sparse: bool) -> NDArray[np.uint8]:
    """Blue over white to red; grey where no pixel counts."""
    values = _as_dots(error) if sparse else error
    known = np.isfinite(values)
    place = np.clip(np.where(known, values, 0) / ERROR_SPAN, -1, 1)[..., None]
    red, blue = np.array([178, 24, 43]), np.array([33, 102, 172])
    colours = 255 + np.where(place > 0, place * (red - 255.0), -place * (blue - 255.0))
    return _small(np.where(known[..., None], colours, GREY).astype(np.uint8))


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    how = cv2.INTER_AREA if width > WIDTH else cv2.INTER_NEAREST
    resized = cv2.resize(np.ascontiguousarray(image), _size(height, width), interpolation=how)
    return np.asarray(resized, dtype=np.uint8)


def _size(height: int, width: int) -> tuple[int, int]:
    """Width and height on the page."""
    return WIDTH, max(1, round(height * WIDTH / width))


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()
