"""Public data sets by the way their folders are laid out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from m3d_cli.datasets.annotations import find_annotations
from m3d_cli.datasets.ddad import find_ddad
from m3d_cli.datasets.diode import find_diode
from m3d_cli.datasets.eth3d import find_eth3d
from m3d_cli.datasets.frame import Frame
from m3d_cli.datasets.hypersim import find_hypersim
from m3d_cli.datasets.ibims import find_ibims
from m3d_cli.datasets.kitti import find_kitti
from m3d_cli.datasets.nuscenes import find_nuscenes
from m3d_cli.datasets.nyu import find_nyu
from m3d_cli.datasets.rgbd_frames import find_rgbd
from m3d_cli.datasets.scannet import find_scannet
from m3d_cli.datasets.sevenscenes import find_sevenscenes
from m3d_cli.datasets.tum import find_tum
from m3d_cli.datasets.vkitti import find_vkitti
from m3d_cli.errors import DatasetError, UsageError


@dataclass(frozen=True, slots=True)
class Layout:
    """How to find the frames of a folder; ``benchmark_split`` is what counts where no split is asked for."""

    name: str
    shape: str
    find: Callable[[Path], tuple[Frame, ...]]
    benchmark_split: str = ""


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("rgbd", "SOURCE/{meta.json, rgb/*.jpg, depth/*.png}", find_rgbd),
        Layout("annotations", "*.json of Metric3D with a list 'files'", find_annotations),
        Layout("nyu", "nyu_depth_v2_labeled.mat and splits.mat, or rgb_*.jpg and sync_depth_*.png", find_nyu, "test"),
        Layout("kitti", "raw drives, annotated depth, *eigen*.txt", find_kitti, "eigen"),
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


@dataclass(frozen=True, slots=True)
class SourceChoice:
    """A source to take: all of its frames, or those of one split."""

    name: str
    split: str | None = None

    @classmethod
    def parse(cls, text: str) -> SourceChoice:
        """``name`` or ``name:split``."""
        name, _, split = text.strip().partition(":")
        return cls(name, split or None)


def find_layout(name: str) -> Layout:
    """The layout called ``name``."""
    if name not in LAYOUTS:
        raise UsageError(f"layout {name} is unknown", hint=f"one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def find_frames(layout: Layout, root: Path, choices: Sequence[SourceChoice] = ()) -> tuple[Frame, ...]:
    """The frames of ``root`` that ``choices`` name, or all of the benchmark's split; raises DatasetError for none."""
    if not root.exists():
        raise DatasetError(f"{root}: no such folder", hint="name the folder that holds the data set")
    # Names come from folders, so "." and ".." must have their own.
    frames = layout.find(root.resolve())
    if not frames:
        raise DatasetError(f"{root}: no frames of layout {layout.name}", hint=f"it looks like {layout.shape}")
    if choices:
        return tuple(frame for choice in choices for frame in _chosen(root, frames, choice))
    listed = tuple(frame for frame in frames if layout.benchmark_split and frame.split == layout.benchmark_split)
    return listed or frames


def require_unique(frames: Sequence[Frame]) -> None:
    """Raise DatasetError where two frames share a name: nothing could tell their predictions and scores apart."""
    seen: set[str] = set()
    for frame in frames:
        if frame.name in seen:
            raise DatasetError(f"{frame.depth}: the frame {frame.name} comes twice", hint="m3d datasets check DIR")
        seen.add(frame.name)


def _chosen(root: Path, frames: Sequence[Frame], choice: SourceChoice) -> list[Frame]:
    of_source = [frame for frame in frames if frame.source == choice.name]
    if not of_source:
        names = ", ".join(dict.fromkeys(frame.source for frame in frames))
        raise DatasetError(f"{root}: no source named {choice.name}", hint=f"there are {names}")
    picked = [frame for frame in of_source if choice.split in (None, frame.split)]
    if not picked:
        raise DatasetError(f"{root / choice.name}: no frame of split {choice.split}")
    return picked
