"""One HTML file of the worst pictures: photo, true and predicted depth in the same colours, and the error."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from m3d_cli.datasets.frame import Frame
from m3d_cli.evaluation.alignment import align
from m3d_cli.evaluation.metrics import DepthScores
from m3d_cli.evaluation.results import Run
from m3d_cli.evaluation.scoring import ImageScores, Predict, counted_pixels, worst
from m3d_cli.evaluation.tables import protocol_lines
from m3d_cli.formats.previews import PreviewStyle, render_preview

# Pixels across of each picture on the page.
WIDTH = 420
JPEG_QUALITY = 82
# ln of the ratio at which the error's colours end: too near is blue, too far is red.
ERROR_SPAN = 0.5
# Sparse points are drawn this many pixels wide, or they could not be seen.
DOT = 3
GREY = 235

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1800px;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem;margin:0 0 .3rem} h2{font-size:1.05rem;margin:2rem 0 .4rem;overflow-wrap:anywhere}
.how{color:#57606a;margin:.1rem 0} .row{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:.8rem}
figure{margin:0} img{width:100%;height:auto;display:block;border:1px solid #d0d7de}
figcaption{color:#57606a;font-size:.85rem}
table{border-collapse:collapse;margin:.5rem 0} td,th{padding:.15rem .9rem .15rem 0;text-align:right}
td:first-child,th:first-child{text-align:left} th{color:#57606a;font-weight:500}
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}.how,figcaption,th{color:#9aa4af}}
"""
_COLUMNS = ("abs_rel", "rmse", "silog", "delta1", "ln_scale")
_TITLES = ("AbsRel", "RMSE (m)", "SILog", "d1", "ln scale")


def worst_page(run: Run, frames: Sequence[Frame], predict: Predict, count: int) -> str:
    """The page of the ``count`` worst pictures under the first alignment; each is read and predicted once more."""
    alignment = run.protocol.alignments[0]
    known = {(frame.source, frame.name): frame for frame in frames}
    chosen = worst(run.images, count, alignment)
    parts = [_picture(known[image.source, image.name], image, predict, run, n) for n, image in enumerate(chosen, 1)]
    title = f"Worst pictures of {run.name} on {run.layout}"
    how = "".join(f'<p class="how">{escape(line)}</p>' for line in protocol_lines(run.protocol.preset, [alignment]))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>{how}"
        f'<p class="how">Sorted by AbsRel, alignment {escape(str(alignment))}. Error: blue is too near, red too far, '
        f"full colour from {100 * (np.exp(ERROR_SPAN) - 1):.0f} %.</p>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _picture(frame: Frame, image: ImageScores, predict: Predict, run: Run, place: int) -> str:
    truth, predicted, error = _maps(frame, predict(frame), run)
    photo = frame.read_image()
    known = truth[np.isfinite(truth)]
    low, high = (float(x) for x in np.percentile(known, (2, 98)))
    style = PreviewStyle(vmin=max(low, 1e-3), vmax=max(high, low * 1.01, 2e-3))
    colours = f"red {style.vmin:.3g} m, blue {style.vmax:.3g} m"
    figures = [
        _figure(_small(photo), "photo"),
        _figure(_coloured(truth, style, frame.sparse), f"true depth that counts: {colours}"),
        _figure(_coloured(predicted, style, sparse=False), f"predicted depth: {colours}"),
        _figure(_error_colours(error, frame.sparse), f"ln of predicted over true, {image.pixels} pixels"),
    ]
    return (
        f"<section><h2>{place}. {escape(image.name)} ({escape(image.source)})</h2>{_table(image)}"
        f'<div class="row">{"".join(figures)}</div></section>'
    )


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


def _table(image: ImageScores) -> str:
    title = "".join(f"<th>{name}</th>" for name in ("alignment", *_TITLES))
    rows = "".join(f"<tr><td>{escape(str(a))}</td>{_cells(scores)}</tr>" for a, scores in image.by_alignment)
    return f"<table><tr>{title}</tr>{rows}</table>"


def _cells(scores: DepthScores) -> str:
    return "".join(f"<td>{getattr(scores, name):.3f}</td>" for name in _COLUMNS)


def _coloured(depth: NDArray[np.float32], style: PreviewStyle, sparse: bool) -> NDArray[np.uint8]:
    """The depth in colours, without the bar: the caption says what they mean."""
    values = _swollen(depth) if sparse else depth
    height, width = values.shape
    if width > WIDTH:
        values = np.asarray(cv2.resize(values, _size(height, width), interpolation=cv2.INTER_NEAREST), dtype=np.float32)
    return _small(render_preview(values, style)[: values.shape[0], : values.shape[1]])


def _swollen(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sparse values (H, W) as dots; where two meet, the larger."""
    filled = np.where(np.isfinite(values), values, np.float32(-1e9))
    size = max(DOT, DOT * values.shape[1] // WIDTH)
    grown = np.asarray(cv2.dilate(filled, np.ones((size, size), dtype=np.uint8)), dtype=np.float32)
    return np.where(grown > -1e8, grown, np.float32(np.nan))


def _error_colours(error: NDArray[np.float32], sparse: bool) -> NDArray[np.uint8]:
    """Blue over white to red; grey where nothing counts."""
    values = _swollen(error) if sparse else error
    known = np.isfinite(values)
    place = np.clip(np.where(known, values, 0) / ERROR_SPAN, -1, 1)[..., None]
    red, blue = np.array([178, 24, 43]), np.array([33, 102, 172])
    colours = 255 + np.where(place > 0, place * (red - 255.0), -place * (blue - 255.0))
    return _small(np.where(known[..., None], colours, GREY).astype(np.uint8))


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    how = cv2.INTER_AREA if width > WIDTH else cv2.INTER_NEAREST
    resized = cv2.resize(np.ascontiguousarray(picture), _size(height, width), interpolation=how)
    return np.asarray(resized, dtype=np.uint8)


def _size(height: int, width: int) -> tuple[int, int]:
    """Width and height on the page."""
    return WIDTH, max(1, round(height * WIDTH / width))


def _figure(picture: NDArray[np.uint8], caption: str) -> str:
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    return f'<figure><img alt="{escape(caption)}" src="{source}"><figcaption>{escape(caption)}</figcaption></figure>'
