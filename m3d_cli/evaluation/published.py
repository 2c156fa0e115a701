"""Numbers that papers print for the same data sets, to stand beside ours; never a substitute for running them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m3d_cli.evaluation.alignment import Alignment
from m3d_cli.evaluation.metrics import MeanScores

V1 = "arXiv 2307.10984"
V2 = "arXiv 2404.15506"
DA3 = "Depth Anything 3, table 11"
UNIDEPTH2 = "UniDepthV2"


@dataclass(frozen=True, slots=True)
class Published:
    """One printed result; ``source`` is the part of the data set where it has parts, empty for all."""

    layout: str
    method: str
    alignment: Alignment
    abs_rel: float | None
    delta1: float | None
    rmse: float | None
    paper: str
    source: str = ""


_NONE, _BOTH = Alignment.NONE, Alignment.SCALE_SHIFT

PUBLISHED = (
    Published("nyu", "AdaBins (trained on NYU)", _NONE, 0.103, 0.903, 0.364, f"{V1}, table 1"),
    Published("nyu", "NeWCRFs (trained on NYU)", _NONE, 0.095, 0.922, 0.334, f"{V1}, table 1"),
    Published("nyu", "Metric3D CSTM_image", _NONE, 0.092, 0.925, 0.341, f"{V1}, table 1"),
    Published("nyu", "Metric3D CSTM_label", _NONE, 0.083, 0.944, 0.310, f"{V1}, table 1"),
    Published("nyu", "Metric3D v2 ViT-L", _NONE, 0.063, 0.975, 0.251, V2),
    Published("nyu", "Metric3D v2 ViT-g2", _NONE, 0.067, 0.980, 0.260, V2),
    Published("nyu", "Metric3D v2, re-run", _NONE, 0.067, 0.971, None, DA3),
    Published("nyu", "Metric3D CSTM_image", _BOTH, 0.058, 0.963, None, f"{V1}, table 4"),
    Published("nyu", "Metric3D CSTM_label", _BOTH, 0.050, 0.966, None, f"{V1}, table 4"),
    Published("kitti", "AdaBins (trained on KITTI)", _NONE, 0.058, 0.964, 2.360, f"{V1}, table 1"),
    Published("kitti", "NeWCRFs (trained on KITTI)", _NONE, 0.052, 0.974, 2.129, f"{V1}, table 1"),
    Published("kitti", "Metric3D CSTM_image", _NONE, 0.060, 0.967, 2.843, f"{V1}, table 1"),
    Published("kitti", "Metric3D CSTM_label", _NONE, 0.058, 0.964, 2.770, f"{V1}, table 1"),
    Published("kitti", "Metric3D v2 ViT-L", _NONE, 0.052, 0.974, 2.511, V2),
    Published("kitti", "Metric3D v2 ViT-g2", _NONE, 0.051, 0.989, 2.403, V2),
    Published("kitti", "Metric3D v2, re-run", _NONE, 0.051, 0.976, None, DA3),
    Published("kitti", "Metric3D CSTM_image", _BOTH, 0.053, 0.965, None, f"{V1}, table 4"),
    Published("kitti", "Metric3D CSTM_label", _BOTH, 0.058, 0.970, None, f"{V1}, table 4"),
    Published("diode", "Metric3D label", _NONE, 0.252, None, 1.440, f"{V1}, table 3", "indoors"),
    Published("diode", "Metric3D image", _NONE, 0.268, None, 1.429, f"{V1}, table 3", "indoors"),
    Published("diode", "Metric3D label", _NONE, 0.414, None, 6.934, f"{V1}, table 3", "outdoor"),
    Published("diode", "Metric3D image", _NONE, 0.535, None, 6.507, f"{V1}, table 3", "outdoor"),
    Published("diode", "Metric3D image", _BOTH, 0.211, 0.825, None, f"{V1}, table 4"),
    Published("diode", "Metric3D label", _BOTH, 0.224, 0.805, None, f"{V1}, table 4"),
    Published("ibims", "Metric3D label", _NONE, 0.160, None, 0.521, f"{V1}, table 3"),
    Published("ibims", "Metric3D image", _NONE, 0.144, None, 0.646, f"{V1}, table 3"),
    Published("ibims", "Metric3D v2, re-run", _NONE, 0.207, 0.684, None, UNIDEPTH2),
    Published("7scenes", "Metric3D label", _NONE, 0.183, None, 0.363, f"{V1}, table 3"),
    Published("7scenes", "Metric3D image", _NONE, 0.189, None, 0.388, f"{V1}, table 3"),
    Published("eth3d", "Metric3D label", _NONE, 0.416, None, 3.017, f"{V1}, table 3"),
    Published("eth3d", "Metric3D image", _NONE, 0.342, None, 2.965, f"{V1}, table 3"),
    Published("eth3d", "Metric3D image", _BOTH, 0.064, 0.965, None, f"{V1}, table 4"),
    Published("eth3d", "Metric3D v2, re-run", _NONE, 0.138, 0.830, None, DA3),
    Published("nuscenes", "Metric3D label", _NONE, 0.154, None, 7.097, f"{V1}, table 3"),
    Published("nuscenes", "Metric3D image", _NONE, 0.147, None, 5.889, f"{V1}, table 3"),
    Published("nuscenes", "Metric3D v2, re-run", _NONE, 0.236, 0.841, None, UNIDEPTH2),
    Published("scannet", "Metric3D image", _BOTH, 0.074, 0.942, None, f"{V1}, table 4"),
    Published("scannet", "Metric3D label", _BOTH, 0.074, 0.941, None, f"{V1}, table 4"),
    Published("tum", "Metric3D v2, re-run", _NONE, 0.093, 0.630, None, UNIDEPTH2),
)


def published_rows(layout: str, ours: Sequence[tuple[str, Alignment, MeanScores]]) -> list[tuple[str, ...]]:
    """A title, our results and what papers print for ``layout``, by alignment; nothing where no paper does."""
    known = [row for row in PUBLISHED if row.layout == layout]
    if not known:
        return []
    rows: list[tuple[str, ...]] = [("method", "part", "alignment", "AbsRel", "d1", "RMSE", "where")]
    for name, alignment, s in ours:
        rows.append((name, "all", str(alignment), f"{s.abs_rel:.3f}", f"{s.delta1:.3f}", f"{s.rmse:.3f}", "this run"))
    for row in known:
        numbers = (_cell(row.abs_rel), _cell(row.delta1), _cell(row.rmse))
        rows.append((row.method, row.source or "all", str(row.alignment), *numbers, row.paper))
    return rows


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
