"""Scores and images of a network while it is trained, on frames that the run never learns from."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from m3d_cli.datasets.rgbd import open_rgbd_tree
from m3d_cli.errors import DatasetError
from m3d_cli.evaluation.metrics import score
from m3d_cli.formats.previews import PreviewStyle, render_preview
from m3d_cli.models.own_weights import metadata_for
from m3d_cli.models.spec import ModelSpec
from m3d_cli.models.weights import save_weights
from m3d_cli.training.augment import Batch, look, plain_view
from m3d_cli.training.checkpoint import RunState
from m3d_cli.training.config import AugmentSection, TrainConfig, ValidationSection
from m3d_cli.training.dataset import Frames, FrameStore, build_store
from m3d_cli.training.estimates import Trainee
from m3d_cli.training.gather import ENTRIES_PER_FRAME, digest_of, readable
from m3d_cli.training.loop import VALIDATION, normalised
from m3d_cli.training.progress_table import append_row

logger = logging.getLogger(__name__)

BATCH = 8
# Images of a network's progress: photo, truth and prediction of the first frames.
PICTURES = 4


@dataclass(frozen=True, slots=True)
class Judge:
    """Scores the averaged network every so many steps into ``validation.csv``, keeps the best one and some images."""

    config: TrainConfig
    every: int
    spec: ModelSpec
    store: FrameStore
    folder: Path

    def __call__(self, step: int, state: RunState) -> None:
        if step % self.every and step != self.config.optimiser.steps:
            return
        scores, panels = self._scored(state.average)
        append_row(self.folder / VALIDATION, {"step": step, **scores})
        (self.folder / "samples").mkdir(exist_ok=True)
        cv2.imwrite(str(self.folder / "samples" / f"{step:07d}.png"), np.vstack(panels)[..., ::-1])
        if scores["abs_rel"] < state.best:
            state.best = scores["abs_rel"]
            best = self.folder / f"{self.config.model}-best.safetensors"
            save_weights(state.average, best, metadata=metadata_for(self.config.model, self.spec.canonical))

    def _scored(self, network: nn.Module) -> tuple[dict[str, float], list[NDArray[np.uint8]]]:
        """AbsRel and d1, a mean of the sources' means, and the panels of the first images."""
        rows: dict[int, list[tuple[float, float]]] = {}
        panels: list[NDArray[np.uint8]] = []
        for chosen in torch.split(torch.arange(len(self.store)), BATCH):
            frames = self.store.take(chosen, next(network.parameters()).device)
            batch, metres = predict(network, frames, self.spec, self.config.augment)
            for place, index in enumerate(chosen.tolist()):
                truth, said = batch.depth[place, 0].cpu().numpy(), metres[place, 0].cpu().numpy()
                known = np.isfinite(truth)
                if known.any():
                    scores = score(said[known].astype(np.float64), truth[known].astype(np.float64))
                    rows.setdefault(int(self.store.source[index]), []).append((scores.abs_rel, scores.delta1))
                if len(panels) < PICTURES:
                    panels.append(_panel(batch.image[place].cpu(), truth, said))
        abs_rel, delta1 = np.mean([np.mean(values, axis=0) for values in rows.values()], axis=0)
        return {"abs_rel": float(abs_rel), "delta1": float(delta1)}, panels


@torch.no_grad()
def predict(network: nn.Module, frames: Frames, spec: ModelSpec, settings: AugmentSection) -> tuple[Batch, Tensor]:
    """What the network is shown of frames, and the metres (B, 1, H, W) that it gives for it."""
    batch = look(frames, plain_view(frames, spec, settings), spec)
    said = Trainee(network)(normalised(batch, spec)).depths[-1]
    said = F.interpolate(said, batch.depth.shape[-2:], mode="bilinear", align_corners=False)
    return batch, said * batch.depth_factor(spec, settings.transform)


def make_judge(config: TrainConfig, settings: ValidationSection, spec: ModelSpec, folder: Path) -> Judge:
    """A judge over the frames that the config names, gathered below ``folder``; raises DatasetError without any."""
    readers = [
        partial(source.read, index)
        for source in open_rgbd_tree(settings.root)
        for index, frame in enumerate(source.frames)
        if frame.split == "val" or source.source in settings.held_out
    ]
    if not readers:
        raise DatasetError(f"{settings.root}: no frame of split val", hint="name sources in validation.held_out")
    canvas = (config.data.canvas_width, config.data.canvas_height)
    samples = ((0, sample) for sample in readable(readers))
    store = build_store(samples, ENTRIES_PER_FRAME * len(readers), canvas, folder / "validation", digest_of(settings))
    return Judge(config, settings.every, spec, store, folder)


def _panel(image: Tensor, truth: NDArray[np.float32], said: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Photo, truth and prediction side by side, the depths in one range of colours."""
    photo = (image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    known = truth[np.isfinite(truth)]
    low, high = (float(known.min()), float(known.max())) if known.size else (1.0, 10.0)
    style = PreviewStyle(vmin=low, vmax=max(high, 1.01 * low))
    return np.hstack(
        [photo, *(render_preview(depth, style)[: truth.shape[0], : truth.shape[1]] for depth in (truth, said))]
    )
