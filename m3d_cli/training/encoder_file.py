"""Read an encoder for the start of a training run; a DINOv2 ViT-S/14 also out of an ONNX graph.

Exporters fold linear weights into nameless MatMul operands, in whatever order the modules ran (key before query,
say). Each is named here by the bias that the graph adds to its product.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m3d_cli.bounded_files import reading
from m3d_cli.errors import WeightsError
from m3d_cli.extras import install_hint
from m3d_cli.models.envelope import unwrapped
from m3d_cli.models.weights import read_tensors

PREFIX = "backbone.embeddings."
LAYER = "backbone.encoder.layer."
LAST_LINEAR = "mlp.fc2"


def read_encoder(path: Path) -> dict[str, Tensor]:
    """Encoder weights: timm's names from safetensors or a checkpoint of timm or DINOv2, or a DINOv2 ViT-S/14 from
    ``.onnx`` under the names of timm's ``vit_small_patch14_dinov2``.

    Raises WeightsError where a graph is not that architecture or `onnx` is missing.
    """
    with reading(path, "the encoder", WeightsError):
        if path.suffix != ".onnx":
            return {key: value.float() for key, value in unwrapped(read_tensors(path)).items()}
        return _of_graph(path)


def _of_graph(path: Path) -> dict[str, Tensor]:
    arrays = _initialisers(path)
    if f"{LAYER}0.{LAST_LINEAR}.weight" not in arrays:
        raise WeightsError(f"{path}: not a DINOv2 ViT as transformers exports it")
    state = _embedding(arrays)
    block = 0
    while f"{LAYER}{block}.{LAST_LINEAR}.weight" in arrays:
        state |= _block(arrays, block)
        block += 1
    return {key: torch.tensor(np.ascontiguousarray(value)) for key, value in state.items()}


def _initialisers(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise WeightsError(f"{path}: reading ONNX needs the onnx package", hint=install_hint("onnx")) from error
    graph = onnx.load(str(path)).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    product_of = {node.output[0]: node for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        bias = next((name for name in node.input if name.endswith(".bias")), None)
        product = next((product_of[name] for name in node.input if name in product_of), None)
        if node.op_type == "Add" and bias is not None and product is not None:
            matrix = next(name for name in product.input if name in arrays)
            arrays[bias.removesuffix("bias") + "weight"] = arrays[matrix].T
    return arrays


def _embedding(arrays: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    # The position embedding was split when the graph was traced: (1, 1, C) for the class token, (1, N, C) for patches.
    first = next(a for name, a in arrays.items() if name.startswith("onnx::Concat"))
    rest = next(a for name, a in arrays.items() if name.startswith("onnx::Reshape") and a.ndim == 3)
    return {
        "cls_token": arrays[f"{PREFIX}cls_token"],
        "pos_embed": np.concatenate([first, rest], axis=1),
        "patch_embed.proj.weight": arrays[f"{PREFIX}patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": arrays[f"{PREFIX}patch_embeddings.projection.bias"],
    }


def _block(arrays: dict[str, NDArray[np.float32]], block: int) -> dict[str, NDArray[np.float32]]:
    old, new = f"{LAYER}{block}.", f"blocks.{block}."
    state = {
        f"{new}attn.qkv.{kind}": np.concatenate(
            [arrays[f"{old}attention.attention.{name}.{kind}"] for name in ("query", "key", "value")]
        )
        for kind in ("weight", "bias")
    }
    same = {
        "norm1": "norm1",
        "norm2": "norm2",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    for ours, theirs in same.items():
        for kind in ("weight", "bias"):
            state[f"{new}{ours}.{kind}"] = arrays[f"{old}{theirs}.{kind}"]
    for scale in (1, 2):
        state[f"{new}ls{scale}.gamma"] = arrays[f"{old}layer_scale{scale}.lambda1"]
    return state
