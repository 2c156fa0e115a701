"""A graph as exporters write it: nameless transposed matrices, in the order the modules happened to run."""

from pathlib import Path

import numpy as np
import pytest
import torch

from m3d_cli.errors import WeightsError
from m3d_cli.training.encoder_file import read_encoder

onnx = pytest.importorskip("onnx")

WIDTH, HIDDEN, TOKENS = 4, 8, 9
LINEARS = {
    "attention.attention.key": (WIDTH, WIDTH),
    "attention.attention.value": (WIDTH, WIDTH),
    "attention.attention.query": (WIDTH, WIDTH),
    "attention.output.dense": (WIDTH, WIDTH),
    "mlp.fc1": (HIDDEN, WIDTH),
    "mlp.fc2": (WIDTH, HIDDEN),
}


def write_graph(path: Path, blocks: int) -> dict[str, np.ndarray]:
    """Write the graph and return each linear layer's weight (out, in) and bias under its module's name."""
    rng = np.random.default_rng(0)
    truth: dict[str, np.ndarray] = {}
    tensors: dict[str, np.ndarray] = {
        "backbone.embeddings.cls_token": rng.random((1, 1, WIDTH)),
        "backbone.embeddings.patch_embeddings.projection.weight": rng.random((WIDTH, 3, 14, 14)),
        "backbone.embeddings.patch_embeddings.projection.bias": rng.random(WIDTH),
        "onnx::Concat_1": rng.random((1, 1, WIDTH)),
        "onnx::Reshape_2": rng.random((1, TOKENS, WIDTH)),
    }
    nodes = []
    for block in range(blocks):
        layer = f"backbone.encoder.layer.{block}."
        for norm in ("norm1", "norm2"):
            tensors[f"{layer}{norm}.weight"], tensors[f"{layer}{norm}.bias"] = rng.random(WIDTH), rng.random(WIDTH)
        for scale in ("layer_scale1", "layer_scale2"):
            tensors[f"{layer}{scale}.lambda1"] = rng.random(WIDTH)
        for name, shape in LINEARS.items():
            weight, bias, number = rng.random(shape), rng.random(shape[0]), len(nodes)
            truth[f"{block}.{name}.weight"], truth[f"{block}.{name}.bias"] = weight, bias
            tensors[f"onnx::MatMul_{number}"], tensors[f"{layer}{name}.bias"] = weight.T, bias
            nodes.append(onnx.helper.make_node("MatMul", [f"x{number}", f"onnx::MatMul_{number}"], [f"y{number}"]))
            nodes.append(onnx.helper.make_node("Add", [f"{layer}{name}.bias", f"y{number}"], [f"z{number}"]))
    initialisers = [onnx.numpy_helper.from_array(a.astype(np.float32), name) for name, a in tensors.items()]
    graph = onnx.helper.make_graph(nodes, "encoder", [], [], initialisers)
    onnx.save(onnx.helper.make_model(graph), str(path))
    return truth


def test_each_matrix_gets_the_name_of_the_bias_added_to_its_product(tmp_path: Path) -> None:
    truth = write_graph(tmp_path / "encoder.onnx", blocks=2)
    state = read_encoder(tmp_path / "encoder.onnx")
    for block in range(2):
        names = [f"{block}.attention.attention.{name}" for name in ("query", "key", "value")]
        for kind in ("weight", "bias"):
            expected = np.concatenate([truth[f"{name}.{kind}"] for name in names])
            actual = state[f"blocks.{block}.attn.qkv.{kind}"]
            assert torch.allclose(actual, torch.tensor(expected, dtype=torch.float32))
        weight = torch.tensor(truth[f"{block}.mlp.fc1.weight"], dtype=torch.float32)
        assert torch.equal(state[f"blocks.{block}.mlp.fc1.weight"], weight)
    assert "blocks.2.mlp.fc1.weight" not in state
    assert state["pos_embed"].shape == (1, 1 + TOKENS, WIDTH)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    graph = onnx.helper.make_graph([], "empty", [], [], [])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "x.onnx"))
    with pytest.raises(WeightsError, match="not a DINOv2"):
        read_encoder(tmp_path / "x.onnx")
