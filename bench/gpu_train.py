"""The training loop of bench/gpu_training.py: all frames on the device, the length of the run given by the clock.

Augmentation, losses and network are those of `m3d_cli.training`; random numbers are drawn on the device, and the host
waits for it at every log line only.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from gpu_checkpoint import read_pieces, save_pieces
from gpu_render import Ring
from torch import Tensor, nn
from torch.optim import AdamW

from m3d_cli.models.spec import ModelSpec
from m3d_cli.training.augment import Batch, draw_view, look, mask_edges
from m3d_cli.training.config import TrainConfig
from m3d_cli.training.dataset import Frames, FrameStore, source_weights
from m3d_cli.training.draws import STRIDE, Draws
from m3d_cli.training.estimates import Trainee
from m3d_cli.training.light import degrade, relight
from m3d_cli.training.loop import YOUNG, append_row, follow, normalised
from m3d_cli.training.objective import objective
from m3d_cli.training.schedule import make_optimiser
from m3d_cli.training.start import averaged_copy, initial_model, spec_of

WARMUP = 0.04  # of the run's time
FETCH_EVERY = 8  # steps
CHUNK = 256  # rendered frames that travel to the device together
LEAST_RENDERED = 64  # frames to wait for before the first step,
LONGEST_WAIT = 60.0  # but not longer than these seconds
FIRST_SCENE = 500_000  # the bundled weights saw scenes below 253,000
HALFWAY = 0.5
PROGRESS = "progress.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to train and where to."""

    out: Path
    minutes: float
    most_steps: int
    checkpoint_seconds: float
    device: torch.device


@dataclass(frozen=True, slots=True)
class Past:
    """What an interrupted run of the same folder has done."""

    step: int = 0
    seconds: float = 0.0
    next_scene: int = FIRST_SCENE

    @classmethod
    def read(cls, folder: Path) -> Past:
        path = folder / PROGRESS
        if not path.exists():
            return cls()
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(content["step"], content["seconds"], content["next_scene"])


class DeviceDraws(Draws):
    """Random numbers of a step drawn on the device, so that none has to travel."""

    def __init__(self, seed: int, step: int, batch: int, device: torch.device) -> None:
        super().__init__(seed, step, batch)
        self.device = device
        self._numbers = torch.Generator(device).manual_seed(seed * STRIDE + step)

    def uniform(self, count: int) -> Tensor:
        return torch.rand((count, self.batch), generator=self._numbers, device=self.device)

    def for_losses(self) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(self._losses)

    def generators(self, device: torch.device) -> list[torch.Generator]:
        return [self._numbers] * self.batch


class Pool:
    """The newest ``capacity`` rendered frames, on the device."""

    def __init__(self, ring: Ring, capacity: int, device: torch.device) -> None:
        self.ring, self.capacity, self.received = ring, capacity, 0
        height, width = ring.depth.shape[1:]
        nothing = np.zeros(0, dtype=np.int64)
        self.store = FrameStore(
            image=torch.empty((capacity, 3, height, width), dtype=torch.uint8, device=device),
            depth=torch.empty((capacity, height, width), dtype=torch.float16, device=device),
            geometry=torch.empty((capacity, 5), device=device),
            source=nothing,
            names=(),
            group=nothing,
            paths=(),
        )

    def __len__(self) -> int:
        return min(self.received, self.capacity)

    def fetch(self) -> None:
        """Take what was rendered since the last time."""
        slots = self.ring.fresh()
        for start in range(0, len(slots), CHUNK):
            chunk = slots[start : start + CHUNK]
            places = torch.arange(self.received, self.received + len(chunk)) % self.capacity
            for mine, theirs in zip(
                (self.store.image, self.store.depth, self.store.geometry),
                (self.ring.image, self.ring.depth, self.ring.geometry),
                strict=True,
            ):
                mine[places.to(mine.device)] = torch.from_numpy(theirs[chunk]).to(mine.device)
            self.received += len(chunk)
            self.ring.release(chunk)

    def wait(self) -> None:
        """Return when there is something to begin with, or after LONGEST_WAIT."""
        begin = time.monotonic()
        while self.received < LEAST_RENDERED and time.monotonic() - begin < LONGEST_WAIT:
            self.fetch()
            time.sleep(0.1)
        if not self.received:
            print("no rendered frame in a minute: training on real frames alone until there are some", flush=True)


class Mix:
    """Real frames by source weights and rendered ones evenly, a fixed number of each a batch."""

    def __init__(self, real: FrameStore, pool: Pool | None, share: float, device: torch.device) -> None:
        self.real, self.pool, self.share, self.device = real.moved(device), pool, share, device
        self._limits = source_weights(real, [1.0]).cumsum(0).to(device, torch.float32)
        self._source = torch.from_numpy(real.source).to(device)
        # How often each source was drawn, rendered frames last.
        self.drawn = torch.zeros(len(real.names) + 1, device=device)

    def rendered_in(self, batch: int) -> int:
        """How many of a batch are rendered."""
        return round(batch * self.share) if self.pool is not None and len(self.pool) else 0

    def draw(self, draws: DeviceDraws) -> Frames:
        """Frames of one batch."""
        rendered = self.rendered_in(draws.batch)
        uniform = draws.uniform(1)[0]
        chosen = torch.searchsorted(self._limits, uniform[rendered:]).clamp(max=len(self.real) - 1)
        self.drawn.index_add_(0, self._source[chosen], torch.ones(len(chosen), device=self.device))
        frames = self.real.take(chosen, self.device)
        if not rendered:
            return frames
        assert self.pool is not None
        self.drawn[-1] += rendered
        places = (uniform[:rendered] * len(self.pool)).long().clamp(max=len(self.pool) - 1)
        others = self.pool.store.take(places, self.device)
        names = [field.name for field in fields(Frames)]
        return Frames(*(torch.cat([getattr(frames, name), getattr(others, name)]) for name in names))

    def shares(self) -> dict[str, float]:
        """Share of each source among all frames drawn so far."""
        share = (self.drawn / self.drawn.sum().clamp(min=1)).tolist()
        return dict(zip((*self.real.names, "rendered"), share, strict=True))


def rate(progress: float, since_start: float) -> float:
    """Factor of the learning rates: a cosine over the run, after a warm-up that a resumed run has too."""
    return min(1.0, since_start / WARMUP) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def augmented(frames: Frames, config: TrainConfig, spec: ModelSpec, step: int, draws: DeviceDraws) -> Batch:
    """The batch as the network sees it: the views and the light of `m3d train`."""
    settings = config.augment
    batch = mask_edges(look(frames, draw_view(frames, spec, settings, draws), spec), settings, draws)
    # `degrade` goes through its frames on the host, so its numbers are drawn there.
    by_frame = Draws(config.seed, step, draws.batch)
    return replace(batch, image=degrade(relight(batch.image, settings, draws), settings, by_frame))


class Trainer:
    """Network, average and optimiser, and one step of them."""

    def __init__(self, config: TrainConfig, spec: ModelSpec, model: nn.Module, device: torch.device) -> None:
        self.config, self.spec, self.device = config, spec, device
        self.model = model.to(device).train().to(memory_format=torch.channels_last)
        self.average = averaged_copy(self.model)
        self.trainee = Trainee(self.model)
        self.optimiser: AdamW = make_optimiser(self.model, config.optimiser, fused=True)
        self.skipped = torch.zeros((), device=device)
        self.steps = 0

    def descend(self, frames: Frames, step: int, draws: DeviceDraws, factor: float) -> dict[str, Tensor]:
        """One step; its loss terms. A step whose gradient is not finite is skipped, and counted, on the device."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * factor
        batch = augmented(frames, self.config, self.spec, step, draws)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.autocast):
            said = self.trainee(normalised(batch, self.spec))
        # The losses make small tensors of their own: on the device, not on the host.
        with self.device:
            terms = objective(said, batch, self.config, self.spec, draws.for_losses())
        terms.total.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimiser.clip_norm)
        # The fused kernel leaves everything as it is where this is 1, which is how torch's gradient scaler skips.
        self.optimiser.found_inf = (~torch.isfinite(norm)).float()
        self.optimiser.step()
        self.skipped += self.optimiser.found_inf
        self.steps += 1
        follow(self.average, self.model, min(self.config.optimiser.ema_decay, self.steps / (self.steps + YOUNG)))
        return {"total": terms.total.detach(), **terms.terms}


def train(config: TrainConfig, plan: Plan, real: FrameStore, pool: Pool | None, begin: float) -> None:
    """Train until ``plan.minutes`` after ``begin`` (time.monotonic), less what an interrupted run has used of them.

    Writes sets of weights into ``plan.out``: ``last`` every minute, ``half`` once; log.csv and progress.json.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    past = Past.read(plan.out)
    trainer = Trainer(config, spec_of(config), _start(config, plan.out), plan.device)
    mix = Mix(real, pool, _rendered_share(config), plan.device)
    before = time.monotonic()
    if pool is not None:
        pool.wait()
    total = 60 * plan.minutes
    started = kept = logged = time.monotonic()
    waited, since, step, half = started - before, 0, past.step, past.seconds >= HALFWAY * total
    rendered = 0 if pool is None else len(pool)
    print(f"{len(real)} real frames, {rendered} rendered; first step after {started - begin:.1f} s", flush=True)

    def used() -> float:
        return past.seconds + time.monotonic() - begin

    while used() < total and trainer.steps < plan.most_steps:
        draws = DeviceDraws(config.seed, step, config.optimiser.batch_size, plan.device)
        if pool is not None and step % FETCH_EVERY == 0:
            before = time.monotonic()
            pool.fetch()
            waited += time.monotonic() - before
        warm = (time.monotonic() - started + 1) / total
        terms = trainer.descend(mix.draw(draws), step, draws, rate(used() / total, warm))
        step, since = step + 1, since + 1
        if trainer.steps % config.log_every == 0:
            now = {name: float(value.detach()) for name, value in terms.items()}
            speed = since * draws.batch / (time.monotonic() - logged)
            logged, since = time.monotonic(), 0
            _log(plan.out, {"step": step, "seconds": used(), "images_per_second": speed, "waited": waited}, now, mix)
        if time.monotonic() - kept > plan.checkpoint_seconds:
            kept = time.monotonic()
            if not half and used() >= HALFWAY * total:
                half = True
                save_pieces(trainer.average, plan.out, "half")
            _keep(trainer, plan, mix, step, used(), past)
    _keep(trainer, plan, mix, step, used(), past)
    seconds = time.monotonic() - started
    print(f"{trainer.steps} steps, {trainer.steps * config.optimiser.batch_size / seconds:.1f} images/s", flush=True)


def _rendered_share(config: TrainConfig) -> float:
    weights = {group.kind: group.weight for group in config.data.groups}
    return weights["synthetic"] / sum(weights.values())


def _start(config: TrainConfig, out: Path) -> nn.Module:
    """The network of the config, or of the interrupted run in ``out``."""
    data = read_pieces(out, "last")
    if data is None:
        return initial_model(config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lite.safetensors"
        path.write_bytes(data)
        print(f"going on from the weights in {out}", flush=True)
        return initial_model(config.model_copy(update={"initial_weights": path}))


def _log(out: Path, head: dict[str, float], terms: dict[str, float], mix: Mix) -> None:
    rendered = 0 if mix.pool is None else mix.pool.received
    shares = mix.shares()
    append_row(out / "log.csv", {**head, "rendered": rendered, **terms})
    most = sorted(shares.items(), key=lambda item: -item[1])[:4]
    print(
        f"step {head['step']}  {head['seconds']:.0f} s  {head['images_per_second']:.1f} images/s  "
        f"waited {head['waited']:.1f} s  loss {terms['total']:.4f}  rendered so far {rendered}  drawn "
        + ", ".join(f"{name} {share:.0%}" for name, share in most),
        flush=True,
    )


def _keep(trainer: Trainer, plan: Plan, mix: Mix, step: int, seconds: float, past: Past) -> None:
    digest = save_pieces(trainer.average, plan.out, "last")
    content = {
        "weights": digest,
        "step": step,
        "seconds": seconds,
        "minutes": plan.minutes,
        "next_scene": past.next_scene if mix.pool is None else mix.pool.ring.next_scene,
        "rendered": 0 if mix.pool is None else mix.pool.received,
        "skipped": int(trainer.skipped),
        "input": [trainer.spec.canonical.height, trainer.spec.canonical.width],
        "drawn": mix.shares(),
    }
    part = plan.out / f"{PROGRESS}.part"
    part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    part.replace(plan.out / PROGRESS)


def start_renderer(arguments: list[str]) -> subprocess.Popen[bytes]:
    """`bench/gpu_training.py render` beside this process."""
    return subprocess.Popen([sys.executable, str(Path(__file__).with_name("gpu_training.py")), "render", *arguments])
