"""Whole training runs of the tiny network on frames made by the test."""

from pathlib import Path

import numpy as np
import pytest
import torch

from m3d_cli.camera import Camera
from m3d_cli.datasets.rgbd import write_rgbd
from m3d_cli.datasets.sample import Sample
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DatasetError, UsageError, WeightsError
from m3d_cli.photo import Photo
from m3d_cli.training import loop
from m3d_cli.training.config import AugmentSection, DataSection, OptimiserSection, RgbdGroup, TrainConfig
from m3d_cli.training.dataset import build_store, fit_to_canvas, source_weights
from m3d_cli.training.run import run_training

CPU = torch.device("cpu")


def sample(seed: int, source: str = "walls", size: tuple[int, int] = (84, 56)) -> Sample:
    """A slanted wall whose brightness follows its depth, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    width, height = size
    camera = Camera.centred(width, height, 60)
    depth = np.linspace(1, 1 + 4 * rng.random(), width, dtype=np.float32)[None].repeat(height, axis=0)
    image = np.repeat((depth * 40).astype(np.uint8)[..., None], 3, axis=2)
    return Sample(Photo(Path(f"{seed}.jpg"), image, camera), DepthMap(depth, camera), source, False)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    write_rgbd([sample(i) for i in range(6)], tmp_path / "data" / "walls", source="walls")
    write_rgbd([sample(9, "held")], tmp_path / "data" / "held", source="held", split="val")
    group = RgbdGroup(kind="rgbd", weight=1, root=tmp_path / "data")
    return TrainConfig(
        model="m3d-test-lite",
        checkpoint_every=4,
        log_every=4,
        data=DataSection(canvas_width=84, canvas_height=56, groups=(group,)),
        optimiser=OptimiserSection(
            steps=12, batch_size=4, warmup_steps=2, learning_rate=2e-3, encoder_learning_rate=1e-3, ema_decay=0.5
        ),
    )


def logged_totals(folder: Path) -> list[float]:
    lines = (folder / "log.csv").read_text().splitlines()[1:]
    return [float(line.split(",")[1]) for line in lines]


def test_the_loss_falls(config: TrainConfig, tmp_path: Path) -> None:
    optimiser = config.optimiser.model_copy(update={"steps": 80})
    longer = config.model_copy(update={"optimiser": optimiser, "augment": AugmentSection(photometric=0)})
    run_training(longer, tmp_path / "run", CPU, 1, lambda progress: None)
    totals = logged_totals(tmp_path / "run")
    assert np.mean(totals[-3:]) < 0.7 * np.mean(totals[:3])


def test_a_resumed_run_ends_in_the_same_bytes(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_training(config, tmp_path / "whole", CPU, 1, lambda progress: None)

    class Stopped(Exception):
        pass

    draw = loop._draw
    calls = iter(range(100))

    def draw_until_stopped(*arguments: object) -> object:
        if next(calls) == 6:
            raise Stopped
        return draw(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_draw", draw_until_stopped)
        with pytest.raises(Stopped):
            run_training(config, tmp_path / "parts", CPU, 1, lambda progress: None)
    parts = run_training(config, tmp_path / "parts", CPU, 1, lambda progress: None)
    assert parts.read_bytes() == whole.read_bytes()


def test_frames_of_split_val_are_never_read(config: TrainConfig, tmp_path: Path) -> None:
    run_training(config, tmp_path / "run", CPU, 1, lambda progress: None)
    assert '"names": ["walls"]' in (tmp_path / "run" / "store" / "index.json").read_text()


def test_an_excluded_source_that_does_not_exist_is_an_error(config: TrainConfig, tmp_path: Path) -> None:
    group = config.data.groups[0].model_copy(update={"exclude": ("wals",)})
    wrong = config.model_copy(update={"data": config.data.model_copy(update={"groups": (group,)})})
    with pytest.raises(DatasetError, match="wals"):
        run_training(wrong, tmp_path / "run", CPU, 1, lambda progress: None)


def test_a_damaged_checkpoint_is_named(config: TrainConfig, tmp_path: Path) -> None:
    run_training(config, tmp_path / "run", CPU, 1, lambda progress: None)
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(WeightsError, match=r"checkpoint\.pt"):
        run_training(config, tmp_path / "run", CPU, 1, lambda progress: None)


def test_a_run_with_other_settings_in_the_same_folder_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    run_training(config, tmp_path / "run", CPU, 1, lambda progress: None)
    other_rate = config.model_copy(update={"optimiser": config.optimiser.model_copy(update={"learning_rate": 1e-4})})
    with pytest.raises(UsageError, match="other settings"):
        run_training(other_rate, tmp_path / "run", CPU, 1, lambda progress: None)
    other_data = config.model_copy(update={"data": config.data.model_copy(update={"canvas_width": 96})})
    with pytest.raises(UsageError, match="other data settings"):
        run_training(other_data, tmp_path / "run", CPU, 1, lambda progress: None)


def test_shrunk_depth_stays_under_its_pixels() -> None:
    """An edge between two depths lies where the picture's edge lies, to a quarter of a pixel on average."""
    offsets = []
    for edge in range(300, 900, 7):
        camera = Camera.centred(1280, 32, 900)
        image = np.zeros((32, 1280, 3), dtype=np.uint8)
        depth = np.full((32, 1280), 1, dtype=np.float32)
        image[:, edge:], depth[:, edge:] = 200, 2
        pixels, small, target = fit_to_canvas(image, depth, camera, (420, 315), sparse=False)
        row = target.height // 2
        offsets.append((small[row] < 1.5).sum() - (1 - pixels[row, :, 0] / 200.0).sum())
    assert abs(np.mean(offsets)) < 0.1


def test_frames_without_depth_are_left_out(tmp_path: Path) -> None:
    good, bad = sample(0), sample(1)
    bad.truth.depth[:] = np.nan
    store = build_store([(0, bad), (0, good)], 4, (84, 56), tmp_path / "store")
    assert len(store) == 1


def test_a_wide_frame_is_stored_whole_and_in_tiles_with_their_own_cameras(tmp_path: Path) -> None:
    wide = sample(0, size=(252, 56))
    store = build_store([(0, wide)], 4, (84, 56), tmp_path / "store")
    assert len(store) == 4
    focal, cx = store.geometry[:, 2].tolist(), store.geometry[:, 3].tolist()
    assert focal[0] == pytest.approx(60 * 84 / 252, rel=0.01)  # 56 / 3 rows are rounded to 19
    assert focal[1:] == [60, 60, 60]
    assert cx[1:] == [126, 126 - 84, 126 - 168]


def test_sparse_depth_survives_shrinking_point_by_point() -> None:
    camera = Camera.centred(100, 80, 90)
    depth = np.full((80, 100), np.nan, dtype=np.float32)
    depth[41, 61], depth[40, 60], depth[10, 10] = 7, 3, 5
    image = np.zeros((80, 100, 3), dtype=np.uint8)
    _, small, target = fit_to_canvas(image, depth, camera, (50, 40), sparse=True)
    assert (target.width, target.height, target.focal) == (50, 40, 45)
    assert small[20, 30] == 3  # the nearer of two points in one pixel
    assert small[5, 5] == 5
    assert np.isfinite(small).sum() == 2


def test_groups_are_drawn_by_weight_and_sources_by_the_root_of_their_counts(tmp_path: Path) -> None:
    samples = [*((0, sample(i, "a")) for i in range(4)), (0, sample(9, "b")), (1, sample(8, "c"))]
    store = build_store(samples, 8, (84, 56), tmp_path / "store")
    probability = source_weights(store, [0.5, 0.5]).numpy()
    assert probability.sum() == pytest.approx(1)
    assert probability[:4].sum() == pytest.approx(0.5 * 2 / 3)
    assert probability[4] == pytest.approx(0.5 / 3)
    assert probability[5] == pytest.approx(0.5)
