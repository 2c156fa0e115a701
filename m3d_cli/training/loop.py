"""The training loop: draw frames, look at them through random cameras, descend; stop and go on anywhere."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from m3d_cli.models.lite import Lite
from m3d_cli.models.spec import ModelSpec
from m3d_cli.training import losses
from m3d_cli.training.augment import Batch, draw_view, look, relight
from m3d_cli.training.checkpoint import RunState, load_checkpoint, save_checkpoint
from m3d_cli.training.config import LossSection, TrainConfig
from m3d_cli.training.dataset import FrameStore
from m3d_cli.training.schedule import make_optimiser, rate_factor
from m3d_cli.training.start import TrainingData, averaged_copy, digest_of

logger = logging.getLogger(__name__)

# A store larger than this share of the device's free memory stays on disk and travels batch by batch.
RESIDENT_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: what the progress bar shows."""

    step: int
    steps: int
    loss: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class LossTerms:
    """The terms of one step, unweighted."""

    terms: dict[str, Tensor]
    total: Tensor


def train(
    config: TrainConfig,
    spec: ModelSpec,
    model: Lite,
    data: TrainingData,
    folder: Path,
    device: torch.device,
    report: Callable[[Progress], None],
) -> Lite:
    """Run or resume ``config``; returns the averaged network. Logs go to ``folder/log.csv``."""
    model.to(device).train()
    model.to(memory_format=torch.channels_last)
    average = averaged_copy(model)
    generator = torch.Generator().manual_seed(config.seed)
    state = RunState(model, average, make_optimiser(model, config.optimiser), generator)
    digest = digest_of(config)
    done = load_checkpoint(folder / "checkpoint.pt", state, digest)
    store = _resident(data.store, device)
    started = time.monotonic()
    for step in range(done, config.optimiser.steps):
        batch = _draw(store, data.probability, config, spec, state.generator, device)
        terms = _descend(batch, config, spec, state, step, device)
        if (step + 1) % config.log_every == 0:
            _log(folder / "log.csv", step + 1, terms)
            loss = float(terms.total.detach())
            report(Progress(step + 1, config.optimiser.steps, loss, time.monotonic() - started))
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.optimiser.steps:
            save_checkpoint(folder / "checkpoint.pt", step + 1, state, digest)
    return average


def _resident(store: FrameStore, device: torch.device) -> FrameStore:
    if device.type != "cuda":
        return store
    free, _ = torch.cuda.mem_get_info(device)
    needed = store.image.numel() + 2 * store.depth.numel()
    return store.moved(device) if needed < RESIDENT_SHARE * free else store


def _draw(
    store: FrameStore,
    probability: Tensor,
    config: TrainConfig,
    spec: ModelSpec,
    generator: torch.Generator,
    device: torch.device,
) -> Batch:
    chosen = torch.multinomial(probability, config.optimiser.batch_size, replacement=True, generator=generator)
    frames = store.take(chosen, device)
    height, width = spec.canonical.height, spec.canonical.width
    view = draw_view(frames, height, width, config.augment, generator)
    batch = look(frames, view, height, width)
    image = relight(batch.image, config.augment, generator)
    border = torch.tensor(spec.canonical.pad_rgb, device=device)[None, :, None, None] / 255
    return Batch(torch.where(batch.inside, image, border), batch.depth, batch.focal, batch.inside)


def _descend(
    batch: Batch, config: TrainConfig, spec: ModelSpec, state: RunState, step: int, device: torch.device
) -> LossTerms:
    assert isinstance(state.optimiser, AdamW)  # noqa: S101 - narrows the type for the groups below
    factor = rate_factor(step, config.optimiser)
    for group in state.optimiser.param_groups:
        group["lr"] = group["base_lr"] * factor
    mean = torch.tensor(spec.mean, device=device)[None, :, None, None]
    std = torch.tensor(spec.std, device=device)[None, :, None, None]
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.autocast):
        output = state.model.log_depth_and_confidence((batch.image - mean) / std)
    canonical = batch.depth * (spec.canonical.focal / batch.focal)[:, None, None, None]
    # The losses stand at the decoder's own resolution: the last upsampling has nothing to learn.
    depth, confidence = output[:, :1].exp(), output[:, 1:].float().sigmoid()
    terms = _losses(depth, confidence, _picked(canonical, output.shape[-2:]), config.loss, spec, state.generator)
    state.optimiser.zero_grad(set_to_none=True)
    terms.total.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), config.optimiser.clip_norm)
    if torch.isfinite(norm):
        state.optimiser.step()
        _follow(state.average, state.model, min(config.optimiser.ema_decay, (step + 1) / (step + 10)))
    else:
        logger.warning("step %d: the gradient is not finite, skipped", step + 1)
    return terms


def _losses(
    depth: Tensor,
    confidence: Tensor,
    target: Tensor,
    settings: LossSection,
    spec: ModelSpec,
    generator: torch.Generator,
) -> LossTerms:
    near, far = spec.depth_range
    mask = (target > near) & (target < far)
    terms = {
        "log_l1": losses.log_l1(depth, target, mask),
        "scale_invariant_log": losses.scale_invariant_log(depth, target, mask),
        "rpnl": losses.random_proposal_normalisation(depth, target, mask, generator, settings.rpnl_crops),
        "gradient": losses.gradient(depth, target, mask),
        "confidence": losses.confidence_l1(confidence, depth, target, mask),
        "sky": losses.sky(depth, far, torch.isposinf(target)),
    }
    total = torch.stack([getattr(settings, name) * value for name, value in terms.items()]).sum()
    return LossTerms(terms, total)


def _picked(target: Tensor, size: torch.Size) -> Tensor:
    """The target (B, 1, H, W) at the centres of a coarser grid: nearest, as depth must not be blended."""
    rows, columns = ((torch.arange(n) + 0.5) * full / n for n, full in zip(size, target.shape[-2:], strict=True))
    picked: Tensor = target[:, :, rows.long()[:, None], columns.long()[None, :]]
    return picked


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    slow: list[Tensor] = list(average.parameters())
    fast: list[Tensor] = list(model.parameters())
    torch._foreach_lerp_(slow, fast, 1 - decay)


def _log(path: Path, step: int, terms: LossTerms) -> None:
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(["step", "total", *terms.terms])
        writer.writerow([step, *(f"{float(t.detach()):.5f}" for t in (terms.total, *terms.terms.values()))])
