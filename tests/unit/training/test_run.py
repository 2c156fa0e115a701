"""Whole training runs of the tiny networks on frames made by the test."""

import csv
import logging
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from m3d_cli import training
from m3d_cli.camera import Camera
from m3d_cli.datasets.rgbd import write_rgbd
from m3d_cli.datasets.sample import Sample
from m3d_cli.depthmap import DepthMap
from m3d_cli.errors import DatasetError, TrainingError, UsageError, WeightsError
from m3d_cli.models import create_model, load_weights
from m3d_cli.models.lite import Lite
from m3d_cli.photo import Photo
from m3d_cli.training import loop
from m3d_cli.training.config import (
    AugmentSection,
    BlendSection,
    DataSection,
    InputSection,
    LayoutGroup,
    LossSection,
    OptimiserSection,
    RgbdGroup,
    ShapesGroup,
    TrainConfig,
    ValidationSection,
)
from m3d_cli.training.dataset import build_store, fit_to_canvas, open_store, source_weights
from m3d_cli.training.estimates import Estimates
from m3d_cli.training.objective import LossTerms
from m3d_cli.training.run import run_training
from m3d_cli.training.start import initial_model, spec_of

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

    draw = loop._drawn
    calls = iter(range(100))

    def draw_until_stopped(*arguments: object) -> object:
        if next(calls) == 6:
            raise Stopped
        return draw(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_drawn", draw_until_stopped)
        with pytest.raises(Stopped):
            run_training(config, tmp_path / "parts", CPU, 1, lambda progress: None)
    parts = run_training(config, tmp_path / "parts", CPU, 1, lambda progress: None)
    assert parts.read_bytes() == whole.read_bytes()
    # The steps between the last checkpoint and the stop were done twice, and are logged once.
    steps = [line.split(",")[0] for line in (tmp_path / "parts" / "log.csv").read_text().splitlines()]
    assert steps == [line.split(",")[0] for line in (tmp_path / "whole" / "log.csv").read_text().splitlines()]


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
    """An edge between two depths lies where the image's edge lies, to a quarter of a pixel on average."""
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


def with_steps(config: TrainConfig, **changes: object) -> TrainConfig:
    return config.model_copy(update={"optimiser": config.optimiser.model_copy(update=changes)})


def test_a_batch_in_parts_learns_what_the_whole_batch_teaches(config: TrainConfig, tmp_path: Path) -> None:
    exact = config.model_copy(update={"autocast": False, "log_every": 1})
    run_training(with_steps(exact, steps=3), tmp_path / "whole", CPU, 1, lambda progress: None)
    run_training(with_steps(exact, steps=3, accumulate=2), tmp_path / "parts", CPU, 1, lambda progress: None)
    assert logged_totals(tmp_path / "parts") == pytest.approx(logged_totals(tmp_path / "whole"), rel=5e-3)


def test_two_processes_follow_the_curve_of_one(config: TrainConfig, tmp_path: Path) -> None:
    exact = config.model_copy(update={"autocast": False, "log_every": 1})
    run_training(exact, tmp_path / "one", CPU, 1, lambda progress: None)
    path = tmp_path / "config.pkl"
    path.write_bytes(pickle.dumps(exact))
    script = tmp_path / "train.py"
    script.write_text(
        "import pickle, sys, torch\nfrom pathlib import Path\nfrom m3d_cli.training.run import run_training\n"
        "torch.set_num_threads(1)\n"
        "run_training(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), torch.device('cpu'), 1, print)\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    root = Path(training.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, script, path, tmp_path / "two"], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    one, two = logged_totals(tmp_path / "one"), logged_totals(tmp_path / "two")
    assert len(two) == 12
    assert two[:5] == pytest.approx(one[:5], rel=1e-4)
    # Sums over other threads round differently, and medians and Adam's first steps make more of it on some processors.
    assert two == pytest.approx(one, rel=0.05)
    assert (tmp_path / "two" / "m3d-test-lite.safetensors").exists()


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_frames_that_cannot_be_read_are_named_counted_and_left_out(
    config: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [broken, *_] = sorted((tmp_path / "data" / "walls" / "depth").iterdir())
    broken.write_bytes(b"not an image")
    with caplog.at_level(logging.WARNING):
        run_training(config, tmp_path / "run", CPU, 1, lambda progress: None)
    assert broken.name in caplog.text
    assert "1 of 6 frames could not be read" in caplog.text
    assert len(open_store(tmp_path / "run" / "store")) == 5


def test_a_run_that_turns_not_finite_stops_with_its_frames_named(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object) -> LossTerms:
        said = arguments[0]
        assert isinstance(said, Estimates)
        terms = {"log_l1": said.depths[0].mean() * torch.nan}
        return LossTerms(terms, terms["log_l1"])

    monkeypatch.setattr(loop, "objective", broken)
    with pytest.raises(TrainingError, match=r"3 steps in a row .* frames: .*walls"), caplog.at_level(logging.WARNING):
        run_training(with_steps(config, patience=3), tmp_path / "run", CPU, 1, lambda progress: None)
    assert "step 1: the loss or its gradient is not finite" in caplog.text


def test_a_single_step_that_is_not_finite_changes_no_weight(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = iter(range(100))
    whole = loop.objective

    def once(*arguments: object) -> LossTerms:
        terms = whole(*arguments)  # type: ignore[arg-type]
        return LossTerms(terms.terms, terms.total * torch.nan) if next(calls) == 0 else terms

    monkeypatch.setattr(loop, "objective", once)
    with caplog.at_level(logging.WARNING):
        path = run_training(config, tmp_path / "run", CPU, 1, lambda progress: None)
    assert "1 steps were skipped" in caplog.text
    assert all(torch.isfinite(value).all() for value in load_file(path).values())


def test_validation_scores_held_out_frames_keeps_the_best_and_paints_them(config: TrainConfig, tmp_path: Path) -> None:
    validation = ValidationSection(every=4, root=tmp_path / "data")
    run_training(config.model_copy(update={"validation": validation}), tmp_path / "run", CPU, 1, lambda progress: None)
    rows = list(csv.DictReader((tmp_path / "run" / "validation.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["4", "8", "12"]
    assert all(0 < float(row["abs_rel"]) < 10 for row in rows)
    assert (tmp_path / "run" / "m3d-test-lite-best.safetensors").exists()
    panel = cv2.imread(str(tmp_path / "run" / "samples" / "0000012.png"))
    assert panel.shape == (56, 3 * 84, 3)


@pytest.mark.parametrize("model", ["m3d-test-convnext", "m3d-test-vit"])
def test_the_published_architectures_train_with_all_their_losses(
    config: TrainConfig, tmp_path: Path, model: str
) -> None:
    weights = {"l1_sequence": 0.5, "hdn": 0.5, "rpnl": 0.5, "virtual_normal": 1.0, "sky_regularisation": 0.001}
    if model == "m3d-test-vit":
        weights |= {"normal": 1.0, "consistency": 0.01}
    off = dict.fromkeys(("log_l1", "scale_invariant_log", "gradient", "confidence", "sky"), 0.0)
    changed = config.model_copy(update={"model": model, "loss": LossSection(**off, **weights)})
    path = run_training(with_steps(changed, steps=8), tmp_path / "run", CPU, 1, lambda progress: None)
    header, *rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert set(header.split(",")) == {"step", "total", *weights}
    assert all(np.isfinite(float(cell)) for row in rows for cell in row.split(","))
    load_weights(create_model(model), path)
    again = changed.model_copy(update={"initial_weights": path})
    for key, value in initial_model(again).state_dict().items():
        assert torch.equal(value.half(), load_file(path)[key].half())


def test_a_loss_that_the_network_cannot_serve_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    wrong = config.model_copy(update={"loss": LossSection(normal=1.0)})
    with pytest.raises(UsageError, match=r"loss\.normal needs a network that predicts normals"):
        run_training(wrong, tmp_path / "run", CPU, 1, lambda progress: None)


def test_several_layouts_are_mixed_in_one_run(config: TrainConfig, tmp_path: Path) -> None:
    write_tum(tmp_path / "tum" / "freiburg1_desk")
    groups = (*config.data.groups, LayoutGroup(kind="layout", weight=1, layout="tum", root=tmp_path / "tum"))
    mixed = config.model_copy(update={"data": config.data.model_copy(update={"groups": groups})})
    run_training(with_steps(mixed, steps=2), tmp_path / "run", CPU, 1, lambda progress: None)
    store = open_store(tmp_path / "run" / "store")
    assert store.group.tolist() == [0] * 6 + [1] * 2
    assert source_weights(store, [1, 1]).numpy()[6:].sum() == pytest.approx(1)


def test_rendered_solids_train_without_any_file(config: TrainConfig, tmp_path: Path) -> None:
    group = ShapesGroup(kind="shapes", weight=1, count=5, seed=3, scenes={"yard": 1.0}, field_of_view=(40, 60))
    rendered = config.model_copy(update={"data": config.data.model_copy(update={"groups": (group,)})})
    run_training(with_steps(rendered, steps=2), tmp_path / "run", CPU, 1, lambda progress: None)
    store = open_store(tmp_path / "run" / "store")
    assert store.names == ("shapes/yard",)
    assert len(store) == 5
    assert ((store.geometry[:, 2] > 42 / 0.5774) & (store.geometry[:, 2] < 42 / 0.3639)).all()


def write_tum(folder: Path) -> None:
    rows = {"rgb": ["# time file"], "depth": ["# time file"]}
    for kind in rows:
        (folder / kind).mkdir(parents=True)
    for index in range(2):
        cv2.imwrite(str(folder / "rgb" / f"{index}.png"), np.full((480, 640, 3), 90, dtype=np.uint8))
        cv2.imwrite(str(folder / "depth" / f"{index}.png"), np.full((480, 640), 10000, dtype=np.uint16))
        for kind, lines in rows.items():
            lines.append(f"{index}.0 {kind}/{index}.png")
    for kind, lines in rows.items():
        (folder / f"{kind}.txt").write_text("\n".join(lines))


def test_lite_of_another_input_size_starts_from_smaller_weights(config: TrainConfig, tmp_path: Path) -> None:
    path = run_training(config, tmp_path / "run", CPU, 1, lambda progress: None)
    larger = config.model_copy(
        update={
            "initial_weights": path,
            "input": InputSection(height=84, width=126, focal=90.0),
            "loss": LossSection(focal=0.1),
        }
    )
    model = initial_model(larger)
    assert isinstance(model, Lite)
    assert model.focal_head is not None
    assert model.encoder.pos_embed.shape[1] == 1 + 6 * 9
    saved = load_file(path)["decoder.refine.weight"].float()
    assert torch.equal(model.decoder.refine.weight, saved)
    assert spec_of(larger).canonical.focal == 90


def test_a_run_can_start_between_two_sets_of_weights(config: TrainConfig, tmp_path: Path) -> None:
    first = run_training(config, tmp_path / "first", CPU, 1, lambda progress: None)
    other = config.model_copy(update={"seed": 5, "loss": LossSection(focal=0.1)})
    second = run_training(other, tmp_path / "second", CPU, 1, lambda progress: None)
    between = other.model_copy(
        update={"initial_weights": second, "blend": BlendSection(weights=first, share=0.25), "loss": other.loss}
    )
    state = initial_model(between).state_dict()
    one, two = load_file(first), load_file(second)
    key = "decoder.refine.weight"
    assert torch.allclose(state[key], 0.75 * one[key].float() + 0.25 * two[key].float(), atol=1e-6)
    head = "focal_head.mlp.0.weight"
    assert torch.equal(state[head].half(), two[head])


def test_encoders_start_from_files_of_timm_and_dinov2(config: TrainConfig, tmp_path: Path) -> None:
    for model, renamed in (("m3d-test-convnext", {}), ("m3d-test-vit", {"patch_embed.": "patch_embed.proj."})):
        named = config.model_copy(update={"model": model})
        encoder = initial_model(named.model_copy(update={"seed": 9})).get_submodule("encoder").state_dict()
        file = tmp_path / f"{model}.pth"
        renames = [(old, new) for old, new in renamed.items()]
        torch.save({_renamed(key, renames): value for key, value in encoder.items()}, file)
        started = initial_model(named.model_copy(update={"initial_encoder": file}))
        for key, value in started.get_submodule("encoder").state_dict().items():
            assert torch.equal(value, encoder[key])
        with pytest.raises(WeightsError, match="not the encoder of Lite"):
            initial_model(config.model_copy(update={"initial_encoder": file}))


def _renamed(key: str, renames: list[tuple[str, str]]) -> str:
    for old, new in renames:
        key = key.replace(old, new) if key.startswith(old) else key
    return key
