"""Training for minutes on a GPU (bench/gpu_training.py), on the CPU with a tiny network and frames made here."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from m3d_cli.camera import Camera
from m3d_cli.datasets.rgbd import write_rgbd
from m3d_cli.datasets.sample import Sample
from m3d_cli.depthmap import DepthMap
from m3d_cli.photo import Photo
from m3d_cli.training.config import TrainConfig, read_config
from m3d_cli.training.dataset import FrameStore
from m3d_cli.training.objective import LossTerms
from m3d_cli.training.start import initial_model, spec_of

BENCH = Path(__file__).parents[2] / "bench"
sys.path.append(str(BENCH))

import gpu_train  # noqa: E402
from gpu_checkpoint import read_pieces, write_pieces  # noqa: E402
from gpu_frames import packed, read_frames, training_samples, write_frames  # noqa: E402
from gpu_render import Ring  # noqa: E402
from gpu_train import DeviceDraws, Mix, Plan, Pool, Trainer, rate, train  # noqa: E402

CPU = torch.device("cpu")
CANVAS = (84, 63)


def sample(seed: int, source: str = "walls", size: tuple[int, int] = CANVAS) -> Sample:
    """A smooth wall with a hole in what is known of it, under some sky."""
    rng = np.random.default_rng(seed)
    width, height = size
    camera = Camera.centred(width, height, 60)
    depth = np.linspace(0.3, 1 + 40 * rng.random(), width, dtype=np.float32)[None].repeat(height, axis=0)
    depth[:5], depth[10:20, 10:30] = np.inf, np.nan
    image = np.linspace(0, 255, width)[None, :, None] * np.ones((height, 1, 3))
    return Sample(Photo(Path(f"{seed}.jpg"), image.astype(np.uint8), camera), DepthMap(depth, camera), source, False)


@pytest.fixture
def config() -> TrainConfig:
    """The committed recipe for the tiny network."""
    read = read_config(BENCH / "gpu_training.toml")
    optimiser = read.optimiser.model_copy(update={"batch_size": 10})
    update = {"model": "m3d-test-lite", "initial_weights": None, "input": None, "optimiser": optimiser, "log_every": 1}
    return read.model_copy(update=update)


@pytest.fixture
def real(tmp_path: Path) -> FrameStore:
    """Nine frames of one source and one of another."""
    samples = [*(sample(seed) for seed in range(9)), sample(9, "floors")]
    write_frames((frame for one in samples for frame in packed(one, CANVAS)), CANVAS, tmp_path / "frames-1.tar")
    return read_frames([tmp_path / "frames-1.tar"])


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    Ring.create(tmp_path / "ring", CANVAS, workers=2, slots=4, first_scene=7)
    return Ring.open(tmp_path / "ring")


def test_packed_frames_come_back_nearly_as_they_were(tmp_path: Path) -> None:
    frames = [sample(0), sample(1, "floors")]
    count = write_frames((frame for one in frames for frame in packed(one, CANVAS)), CANVAS, tmp_path / "a.tar")
    store = read_frames([tmp_path / "a.tar"])
    assert (count, len(store)) == (2, 2)
    assert store.names == ("floors", "walls")
    for index, one in enumerate(frames):
        depth, truth = store.depth[index].float().numpy(), one.truth.depth
        known = np.isfinite(truth)
        np.testing.assert_array_equal(np.isnan(depth), np.isnan(truth))
        np.testing.assert_array_equal(np.isposinf(depth), np.isposinf(truth))
        # Half a step of the logarithm, and what float16 rounds.
        np.testing.assert_allclose(depth[known], truth[known], rtol=0.0035)
        pixels = store.image[index].numpy().transpose(1, 2, 0).astype(int)
        assert np.abs(pixels - one.photo.image).mean() < 3
        camera = one.photo.camera
        assert store.geometry[index].tolist() == [*CANVAS, camera.focal, camera.cx, camera.cy]


def test_a_wide_frame_is_packed_with_its_tiles() -> None:
    assert len(list(packed(sample(0, size=(252, 63)), CANVAS))) == 4


def test_frames_kept_for_scoring_are_not_packed(tmp_path: Path) -> None:
    for source, split in (("walls", "train"), ("floors", "val"), ("rooms", "train")):
        write_rgbd([sample(0, source)], tmp_path / source, source=source, split=split)
    assert [one.source for one in training_samples(tmp_path, ["rooms"])] == ["walls"]


def test_weights_in_pieces_are_whole_or_not_there(tmp_path: Path) -> None:
    old, new = bytes(range(200)), bytes(range(1, 201))
    write_pieces(old, tmp_path, "last", most=64)
    write_pieces(old, tmp_path, "half", most=64)
    assert len(list(tmp_path.glob("lite-last-*"))) == 4
    assert read_pieces(tmp_path, "last") == old
    write_pieces(new, tmp_path, "last", most=64)
    assert read_pieces(tmp_path, "last") == new
    assert len(list(tmp_path.iterdir())) == 8  # the older set of that name is gone, the other name's is not
    next(tmp_path.glob("lite-last-*-2.of.4")).unlink()
    assert read_pieces(tmp_path, "last") is None
    assert read_pieces(tmp_path, "half") == old


def test_a_set_that_was_cut_off_gives_way_to_the_one_before(tmp_path: Path) -> None:
    write_pieces(b"whole" * 50, tmp_path, "last", most=64)
    (tmp_path / "lite-last-0123456789-1.of.4").write_bytes(b"cut off")
    assert read_pieces(tmp_path, "last") == b"whole" * 50


def test_every_rendered_frame_passes_the_ring_once(ring: Ring) -> None:
    pool, seeds = Pool(ring, 16, CPU), iter(range(100))
    for worker, count in ((0, 4), (1, 3), (0, 2), (1, 1)):
        for seed in (next(seeds) for _ in range(count)):
            assert not ring.is_full(worker)
            ring.put(worker, sample(seed))
        if count in (4, 1):
            assert ring.is_full(worker)
            pool.fetch()
    assert pool.received == 10
    expected = sorted(float(sample(seed).truth.depth[-1, -1]) for seed in range(10))
    np.testing.assert_allclose(sorted(pool.store.depth[:10, -1, -1].float().tolist()), expected, rtol=1e-3)
    assert not ring.is_full(0)
    assert ring.next_scene == 10


def test_the_pool_keeps_the_newest_frames(ring: Ring) -> None:
    pool = Pool(ring, 3, CPU)
    for seed in range(5):
        ring.put(0, sample(seed))
        pool.fetch()
    assert len(pool) == 3
    expected = sorted(float(sample(seed).truth.depth[-1, -1]) for seed in (2, 3, 4))
    np.testing.assert_allclose(sorted(pool.store.depth[:, -1, -1].float().tolist()), expected, rtol=1e-3)


def test_frames_are_drawn_as_the_weights_say(real: FrameStore, ring: Ring) -> None:
    ring.put(0, sample(0))
    pool = Pool(ring, 16, CPU)
    pool.fetch()
    mix = Mix(real, pool, 0.4, CPU)
    for step in range(400):
        assert len(mix.draw(DeviceDraws(1, step, 10, CPU)).focal) == 10
    # 0.6 of the frames are real: three to one, the roots of nine and one.
    assert mix.shares() == pytest.approx({"floors": 0.15, "walls": 0.45, "rendered": 0.4}, abs=0.02)


def test_without_rendered_frames_all_are_real(real: FrameStore) -> None:
    mix = Mix(real, None, 0.4, CPU)
    assert len(mix.draw(DeviceDraws(1, 0, 10, CPU)).focal) == 10
    assert mix.shares()["rendered"] == 0


def test_the_rate_warms_up_and_ends_at_zero() -> None:
    assert rate(0.02, 0.02) == pytest.approx(0.5, abs=0.01)
    assert rate(0.5, 0.5) == pytest.approx(0.5)
    assert rate(1.0, 1.0) == pytest.approx(0)
    assert rate(0.5, 0.01) == pytest.approx(0.125)  # a run that goes on warms up again


def test_a_step_that_is_not_finite_changes_no_weight(
    config: TrainConfig, real: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(config, spec_of(config), initial_model(config), CPU)
    mix, terms = Mix(real, None, 0.4, CPU), gpu_train.objective

    def broken(*arguments: object) -> LossTerms:
        found = terms(*arguments)
        return LossTerms(found.terms, found.total * torch.nan)

    def weights() -> torch.Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])

    def descend(step: int) -> None:
        draws = DeviceDraws(1, step, 10, CPU)
        trainer.descend(mix.draw(draws), step, draws, 1.0)

    descend(0)
    before = weights()
    monkeypatch.setattr(gpu_train, "objective", broken)
    descend(1)
    assert torch.equal(weights(), before)
    monkeypatch.undo()
    descend(2)
    assert not torch.equal(weights(), before)
    assert torch.isfinite(weights()).all()
    assert int(trainer.skipped) == 1


def test_a_run_goes_on_where_it_stopped(config: TrainConfig, real: FrameStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = Plan(out, minutes=10, most_steps=3, checkpoint_seconds=0.0, device=CPU)
    train(config, plan, real, None, time.monotonic())
    first, weights = json.loads((out / "progress.json").read_text()), read_pieces(out, "last")
    train(config, plan, real, None, time.monotonic())
    second = json.loads((out / "progress.json").read_text())
    assert (first["step"], second["step"]) == (3, 6)
    assert second["seconds"] > first["seconds"]
    assert read_pieces(out, "last") != weights
    assert len((out / "log.csv").read_text().splitlines()) == 7


class TickingClock:
    """Time that passes only when somebody looks: a busy machine does as many steps as an idle one."""

    def __init__(self, tick: float) -> None:
        self.tick, self.now, self.sleep = tick, 0.0, time.sleep

    def monotonic(self) -> float:
        self.now += self.tick
        return self.now


def test_a_run_ends_by_the_clock_and_keeps_the_weights_of_its_middle(
    config: TrainConfig, real: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = TickingClock(0.05)
    monkeypatch.setattr(gpu_train, "time", clock)
    plan = Plan(tmp_path / "out", minutes=3 / 60, most_steps=10**9, checkpoint_seconds=0.2, device=CPU)
    train(config, plan, real, None, 0.0)
    assert 3 <= clock.now < 4
    assert read_pieces(plan.out, "half") is not None
    assert read_pieces(plan.out, "half") != read_pieces(plan.out, "last")
