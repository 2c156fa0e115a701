from importlib import resources
from pathlib import Path

import pytest

from m3d_cli.errors import UsageError
from m3d_cli.models.lite import Lite, LiteConfig
from m3d_cli.training.config import OptimiserSection, RgbdGroup, read_config
from m3d_cli.training.schedule import make_optimiser, rate_factor

CONFIGS = Path(str(resources.files("m3d_cli") / "training" / "configs"))
BUNDLED = CONFIGS / "lite.toml"
HELD_OUT = {"misc_kinect", "uoc_realsense", "kitti_object"}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("lite*.toml")), ids=lambda path: path.name)
def test_the_bundled_configs_hold_out_what_lite_is_scored_on(path: Path) -> None:
    groups = read_config(path).data.groups
    [real] = [group for group in groups if isinstance(group, RgbdGroup)]
    assert set(real.exclude) >= HELD_OUT
    assert not real.sources


def test_the_config_for_fine_tuning_is_read_and_names_the_published_weights() -> None:
    config = read_config(CONFIGS / "vit-small.toml")
    assert config.model == "vit-small"
    assert str(config.initial_weights).endswith("metric_depth_vit_small_800k.pth")
    assert {name for name, weight in config.loss.weights().items() if weight} == {
        "l1_sequence",
        "rpnl",
        "hdn",
        "virtual_normal",
        "normal",
        "consistency",
        "sky_regularisation",
    }


def test_an_unknown_key_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(BUNDLED.read_text().replace("batch_size", "batchsize"))
    with pytest.raises(UsageError, match=r"batchsize, did you mean batch_size"):
        read_config(path)


def test_a_key_in_the_wrong_table_is_not_proposed_for_itself(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f"batch_size = 4\n{BUNDLED.read_text()}")
    with pytest.raises(UsageError, match=r"unknown key batch_size, it belongs under \[optimiser\]$"):
        read_config(path)
    path.write_text(f"modle = 'lite'\n{BUNDLED.read_text()}")
    with pytest.raises(UsageError, match=r"unknown key modle, did you mean model\?"):
        read_config(path)


def test_an_unknown_kind_of_scene_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(BUNDLED.read_text().replace("corridor =", "corrridor ="))
    with pytest.raises(UsageError, match=r"no scenes named corrridor: choose from room, tabletop"):
        read_config(path)


def test_a_value_out_of_range_names_its_place(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(BUNDLED.read_text().replace("batch_size = 16", "batch_size = 0"))
    with pytest.raises(UsageError, match=r"optimiser.batch_size"):
        read_config(path)


@pytest.mark.parametrize("content", ["[data", "\xff"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError, match=r"c\.toml: the training config cannot be read"):
        read_config(path)


def test_the_rate_warms_up_then_falls_to_nothing() -> None:
    settings = OptimiserSection(steps=100, batch_size=1, warmup_steps=10, power=0.9)
    rates = [rate_factor(step, settings) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1
    assert rates[55] == pytest.approx(0.5**0.9)
    assert rates[100] == 0
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_deeper_blocks_learn_faster_and_vectors_do_not_decay() -> None:
    model = Lite()
    settings = OptimiserSection(steps=1, batch_size=1, encoder_learning_rate=1e-4, layer_decay=0.5, weight_decay=0.1)
    rate, decay = {}, {}
    for group in make_optimiser(model, settings).param_groups:
        for parameter in group["params"]:
            rate[id(parameter)], decay[id(parameter)] = group["lr"], group["weight_decay"]
    blocks = model.encoder.blocks
    assert rate[id(blocks[9].mlp.fc1.weight)] == pytest.approx(1e-4)
    assert rate[id(blocks[8].mlp.fc1.weight)] == pytest.approx(5e-5)
    assert rate[id(model.encoder.patch_embed.proj.weight)] == pytest.approx(1e-4 * 0.5**10)
    assert rate[id(model.decoder.refine.weight)] == settings.learning_rate
    assert decay[id(blocks[9].norm1.weight)] == 0
    assert decay[id(blocks[9].mlp.fc1.weight)] == 0.1


def test_a_rate_of_zero_freezes_the_encoder() -> None:
    model = Lite()
    make_optimiser(model, OptimiserSection(steps=1, batch_size=1, encoder_learning_rate=0))
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())
    assert all(parameter.requires_grad for parameter in model.decoder.parameters())


def test_one_part_can_learn_alone() -> None:
    model = Lite(LiteConfig(focal_bins=16))
    make_optimiser(model, OptimiserSection(steps=1, batch_size=1, only="focal_head"))
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in model.named_parameters() if name.startswith("focal_head.")}
    with pytest.raises(UsageError, match="no such part"):
        make_optimiser(Lite(LiteConfig(focal_bins=0)), OptimiserSection(steps=1, batch_size=1, only="focal_head"))
