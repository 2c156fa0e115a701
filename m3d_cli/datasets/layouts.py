"""Public data sets by the way their folders are laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from m3d_cli.datasets.annotations import find_annotations
from m3d_cli.datasets.ddad import find_ddad
from m3d_cli.datasets.diode import find_diode
from m3d_cli.datasets.eth3d import find_eth3d
from m3d_cli.datasets.frame import Frame
from m3d_cli.datasets.hypersim import find_hypersim
from m3d_cli.datasets.ibims import find_ibims
from m3d_cli.datasets.kitti import BENCHMARK_SPLIT, find_kitti, without_depth
from m3d_cli.datasets.nuscenes import find_nuscenes
from m3d_cli.datasets.nyu import find_nyu
from m3d_cli.datasets.rgbd_frames import find_rgbd
from m3d_cli.datasets.scannet import find_scannet
from m3d_cli.datasets.sevenscenes import find_sevenscenes
from m3d_cli.datasets.tum import find_tum
from m3d_cli.datasets.vkitti import find_vkitti
from m3d_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Layout:
    """How to find the frames of a folder; ``benchmark_split`` is what counts where no split is asked for.

    ``without_depth`` counts, by split, what the data set's lists name beyond the frames that have depth.
    """

    name: str
    shape: str
    find: Callable[[Path], tuple[Frame, ...]]
    benchmark_split: str = ""
    without_depth: Callable[[Path, Sequence[Frame]], Mapping[str, int]] | None = None


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("rgbd", "SOURCE/{meta.json, rgb/*.jpg, depth/*.png}", find_rgbd),
        Layout("annotations", "*.json of Metric3D with a list 'files'", find_annotations),
        Layout("nyu", "nyu_depth_v2_labeled.mat and splits.mat, or rgb_*.jpg and sync_depth_*.png", find_nyu, "test"),
        Layout("kitti", "raw drives, annotated depth, *eigen*test*.txt", find_kitti, BENCHMARK_SPLIT, without_depth),
        Layout("scannet", "SCENE/{color,depth,intrinsic}", find_scannet),
        Layout("diode", "SPLIT/(indoors|outdoor)/SCENE/SCAN/*.png, *_depth.npy", find_diode, "val"),
        Layout("ibims", "{rgb,depth,calib,mask_invalid,mask_transp}/*", find_ibims),
        Layout("eth3d", "SCENE/{images,ground_truth_depth}/dslr_images/*.JPG", find_eth3d),
        Layout("7scenes", "SCENE/seq-NN/frame-*.{color,depth}.png", find_sevenscenes, "test"),
        Layout("nuscenes", "samples/CAMERA/*.jpg, depth/CAMERA/*.png, v1.0-*/*.json", find_nuscenes),
        Layout("ddad", "SCENE/scene_*.json of DGP", find_ddad, "val"),
        Layout("tum", "SEQUENCE/{rgb.txt,depth.txt}", find_tum),
        Layout("hypersim", "SCENE/images/scene_CAM_{final_preview,geometry_hdf5}", find_hypersim),
        Layout("vkitti", "SceneNN/VARIATION/frames/{rgb,depth}/Camera_N", find_vkitti),
    )
}


def find_layout(name: str) -> Layout:
    """The layout called ``name``."""
    if name not in LAYOUTS:
        raise UsageError(f"layout {name} is unknown", hint=f"one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
