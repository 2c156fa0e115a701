"""Read a DINOv2 ViT-S/14 encoder out of an ONNX graph into timm's layout, for the start of a training run.

Exporters fold linear weights into nameless MatMul operands; their order in the graph is the order of execution: query,
key, value, attention output, and the two layers of the MLP, block after block.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from m3d_cli.errors import WeightsError

PREFIX = "backbone.embeddings."
LAYER = "backbone.encoder.layer."
LINEARS_PER_BLOCK = 6


def read_encoder(path: Path) -> dict[str, Tensor]:
    """State dict for timm's ``vit_small_patch14_dinov2`` from an ``.onnx`` or a ``.safetensors`` file.

    Raises WeightsError where the graph is not that architecture or `onnx` is missing.
    """
    if path.suffix == ".safetensors":
        return {key: value.float() for key, value in load_file(path).items()}
    arrays = _initialisers(path)
    matrices = [a for name, a in arrays.items() if name.startswith("onnx::MatMul")]
    if len(matrices) % LINEARS_PER_BLOCK or f"{LAYER}0.norm1.weight" not in arrays:
        raise WeightsError(f"{path}: not a ViT with {LINEARS_PER_BLOCK} linear layers a block")
    state = _embedding(arrays)
    for block in range(len(matrices) // LINEARS_PER_BLOCK):
        linears = matrices[block * LINEARS_PER_BLOCK : (block + 1) * LINEARS_PER_BLOCK]
        state |= _block(arrays, block, [matrix.T for matrix in linears])
    return {key: torch.tensor(np.ascontiguousarray(value)) for key, value in state.items()}


def _initialisers(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise WeightsError(f"{path}: reading ONNX needs the onnx package", hint="pip install onnx") from error
    graph = onnx.load(str(path)).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


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


def _block(
    arrays: dict[str, NDArray[np.float32]], block: int, linears: list[NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    old, new = f"{LAYER}{block}.", f"blocks.{block}."
    attention = f"{old}attention.attention."
    biases = [arrays[f"{attention}{name}.bias"] for name in ("query", "key", "value")]
    return {
        f"{new}norm1.weight": arrays[f"{old}norm1.weight"],
        f"{new}norm1.bias": arrays[f"{old}norm1.bias"],
        f"{new}attn.qkv.weight": np.concatenate(linears[:3]),
        f"{new}attn.qkv.bias": np.concatenate(biases),
        f"{new}attn.proj.weight": linears[3],
        f"{new}attn.proj.bias": arrays[f"{old}attention.output.dense.bias"],
        f"{new}ls1.gamma": arrays[f"{old}layer_scale1.lambda1"],
        f"{new}norm2.weight": arrays[f"{old}norm2.weight"],
        f"{new}norm2.bias": arrays[f"{old}norm2.bias"],
        f"{new}mlp.fc1.weight": linears[4],
        f"{new}mlp.fc1.bias": arrays[f"{old}mlp.fc1.bias"],
        f"{new}mlp.fc2.weight": linears[5],
        f"{new}mlp.fc2.bias": arrays[f"{old}mlp.fc2.bias"],
        f"{new}ls2.gamma": arrays[f"{old}layer_scale2.lambda1"],
    }
