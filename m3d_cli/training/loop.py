"""The training loop: draw frames, look at them through random cameras, descend; stop and go on anywhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from m3d_cli.errors import TrainingError
from m3d_cli.models.spec import ModelSpec
from m3d_cli.training.augment import Batch, draw_view, look, mask_edges
from m3d_cli.training.checkpoint import RunState, load_checkpoint, save_checkpoint
from m3d_cli.training.config import TrainConfig
from m3d_cli.training.dataset import FrameStore
from m3d_cli.training.draws import Draws
from m3d_cli.training.estimates import Trainee
from m3d_cli.training.gather import TrainingData, digest_of
from m3d_cli.training.light import degrade, relight
from m3d_cli.training.objective import objective
from m3d_cli.training.progress_table import append_row, drop_rows_after
from m3d_cli.training.schedule import make_optimiser, rate_factor
from m3d_cli.training.start import averaged_copy
from m3d_cli.training.team import Team

logger = logging.getLogger(__name__)

# A store larger than this share of the device's free memory stays on disk and travels batch by batch.
RESIDENT_SHARE = 0.6

# What the average's decay is while the run is young: (step + 1) / (step + YOUNG).
YOUNG = 10

LOG = "log.csv"
VALIDATION = "validation.csv"
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: what the progress bar shows."""

    step: int
    steps: int
    loss: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What stays the same through a run; ``judge`` scores the averaged network after a step."""

    config: TrainConfig
    spec: ModelSpec
    data: TrainingData
    folder: Path
    team: Team
    report: Callable[[Progress], None]
    judge: Callable[[int, RunState], None] = lambda step, state: None


def train(run: Run, model: nn.Module) -> nn.Module:
    """Run or resume; returns the averaged network. Logs go to ``log.csv`` of the run's folder.

    Raises TrainingError, naming the frames, when losses or gradients stay not finite.
    """
    config, team = run.config, run.team
    model.to(team.device).train()
    model.to(memory_format=torch.channels_last)
    state = RunState(model, averaged_copy(model), make_optimiser(model, config.optimiser))
    digest = digest_of(config)
    done = load_checkpoint(run.folder / CHECKPOINT, state, digest)
    if team.leads:
        for table in (LOG, VALIDATION):
            drop_rows_after(run.folder / table, done)
    run = replace(run, data=replace(run.data, store=_resident(run.data.store, team.device)))
    trainee = team.joined(Trainee(model))
    started, troubled = time.monotonic(), 0
    for step in range(done, config.optimiser.steps):
        terms, chosen = _descend(run, trainee, state, step)
        troubled = 0 if terms is not None else troubled + 1
        if terms is None:
            state.skipped += 1
            _told(run, chosen, step, troubled)
        if terms is not None and (step + 1) % config.log_every == 0:
            _logged(run, step, terms, time.monotonic() - started)
        if team.leads:
            run.judge(step + 1, state)
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.optimiser.steps:
            _kept(run, step, state, digest)
    if state.skipped:
        logger.warning("%d steps were skipped because their loss or gradient was not finite", state.skipped)
    return state.average


def _resident(store: FrameStore, device: torch.device) -> FrameStore:
    if device.type != "cuda":
        return store
    free, _ = torch.cuda.mem_get_info(device)
    needed = store.image.numel() + 2 * store.depth.numel()
    return store.moved(device) if needed < RESIDENT_SHARE * free else store


def _descend(run: Run, trainee: nn.Module, state: RunState, step: int) -> tuple[dict[str, float] | None, Tensor]:
    """One step; its loss terms, None where they or the gradient were not finite, and the frames it looked at."""
    assert isinstance(state.optimiser, AdamW)  # noqa: S101 - narrows the type for the groups below
    settings = run.config.optimiser
    for group in state.optimiser.param_groups:
        group["lr"] = group["base_lr"] * rate_factor(step, settings)
    draws = Draws(run.config.seed, step, settings.batch_size, run.team.share)
    chosen = draws.chosen(run.data.probability)
    state.optimiser.zero_grad(set_to_none=True)
    terms = _gradients(run, trainee, _drawn(run, chosen, draws), draws)
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), settings.clip_norm)
    # Gradients are shared, the loss is not: only together do all processes decide the same.
    if not bool(torch.isfinite(run.team.mean(norm + terms["total"]))):
        return None, chosen
    state.optimiser.step()
    follow(state.average, state.model, min(settings.ema_decay, (step + 1) / (step + YOUNG)))
    return {name: float(value) for name, value in terms.items()}, chosen


def _drawn(run: Run, chosen: Tensor, draws: Draws) -> Batch:
    frames = run.data.store.take(chosen, run.team.device)
    settings = run.config.augment
    batch = mask_edges(look(frames, draw_view(frames, run.spec, settings, draws), run.spec), settings, draws)
    return replace(batch, image=degrade(relight(batch.image, settings, draws), settings, draws))


def normalised(batch: Batch, spec: ModelSpec) -> Tensor:
    """What the network is fed: the batch's images with their border, normalised (B, 3, H, W)."""
    device = batch.image.device
    border, mean, std = (
        torch.tensor(rgb, device=device)[None, :, None, None] for rgb in (spec.canonical.pad_rgb, spec.mean, spec.std)
    )
    return (torch.where(batch.inside, batch.image, border / 255) - mean) / std


def _gradients(run: Run, trainee: nn.Module, batch: Batch, draws: Draws) -> dict[str, Tensor]:
    """Backward passes over the parts of the batch, whose gradients add up to the batch's; the mean of their terms."""
    device, parts = run.team.device, run.config.optimiser.accumulate
    sums: dict[str, Tensor] = {}
    for part in batch.parts(parts):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=run.config.autocast):
            said = trainee(normalised(part, run.spec))
        terms = objective(said, part, run.config, run.spec, draws.for_losses())
        (terms.total / parts).backward()  # type: ignore[no-untyped-call]
        for name, value in {"total": terms.total, **terms.terms}.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + value.detach() / parts
    return sums


def _told(run: Run, chosen: Tensor, step: int, troubled: int) -> None:
    frames = ", ".join(run.data.store.paths[int(index)] for index in chosen)
    logger.warning("step %d: the loss or its gradient is not finite, skipped; its frames: %s", step + 1, frames)
    if troubled >= run.config.optimiser.patience:
        raise TrainingError(
            f"{troubled} steps in a row had a loss or gradient that is not finite; the last one's frames: {frames}",
            hint="lower the learning rate, or check these frames: m3d datasets check",
        )


def _logged(run: Run, step: int, terms: Mapping[str, float], seconds: float) -> None:
    total = float(run.team.mean(torch.tensor(terms["total"], device=run.team.device)))
    if run.team.leads:
        append_row(run.folder / LOG, {"step": step + 1, **terms, "total": total})
        run.report(Progress(step + 1, run.config.optimiser.steps, total, seconds))


def _kept(run: Run, step: int, state: RunState, digest: str) -> None:
    if run.team.leads:
        save_checkpoint(run.folder / CHECKPOINT, step + 1, state, digest)
    run.team.wait()


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the weights of ``average`` towards those of ``model``: ``decay`` is what is kept of them."""
    slow: list[Tensor] = list(average.parameters())
    fast: list[Tensor] = list(model.parameters())
    torch._foreach_lerp_(slow, fast, 1 - decay)
    # Counts and running means of batch norms are no weights to average.
    for kept, fresh in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(fresh)
