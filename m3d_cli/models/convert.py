"""Between the tensor names of the published checkpoints and ours: one map, exact in both directions.

A few published names carry nothing and may be absent (`_UNREAD`), and one layer norm in every context block is listed
under two names; both are handled by name, everything else is strict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from m3d_cli.errors import UsageError, WeightsError
from m3d_cli.models.envelope import PREFIX, listed
from m3d_cli.models.metric3d import ARCHITECTURES, build_network

# Our name -> published name, applied in order with the first that matches; `#` stands for a number.
_RULES = (
    # ConvNeXt encoder
    ("encoder.stem.#.", "encoder.downsample_layers.0.#."),
    ("encoder.stages.#.downsample.#.", "encoder.downsample_layers.#.#."),
    ("encoder.stages.#.blocks.#.conv_dw.", "encoder.stages.#.#.dwconv."),
    ("encoder.stages.#.blocks.#.mlp.fc1.", "encoder.stages.#.#.pwconv1."),
    ("encoder.stages.#.blocks.#.mlp.fc2.", "encoder.stages.#.#.pwconv2."),
    ("encoder.stages.#.blocks.#.", "encoder.stages.#.#."),
    # ViT encoder; the published blocks lie in one chunk, number 0
    ("encoder.patch_embed.", "encoder.patch_embed.proj."),
    ("encoder.blocks.#.", "encoder.blocks.0.#."),
    # hourglass
    ("decoder.pyramid.levels.0.narrow.", "decoder.decoder_mono.upconv_3_0.conv."),
    ("decoder.pyramid.levels.0.join.", "decoder.decoder_mono.upconv_3_1.conv."),
    ("decoder.pyramid.levels.0.mix.", "decoder.decoder_mono.upconv_3_1.conv_2."),
    ("decoder.pyramid.levels.1.narrow.", "decoder.decoder_mono.upconv_2_0.conv.1."),
    ("decoder.pyramid.levels.1.join.", "decoder.decoder_mono.upconv_2_1.conv.1."),
    ("decoder.pyramid.levels.1.mix.", "decoder.decoder_mono.upconv_2_1.conv_2."),
    ("decoder.pyramid.levels.2.narrow.", "decoder.decoder_mono.upconv_1_0.conv.1."),
    ("decoder.pyramid.levels.2.join.", "decoder.decoder_mono.upconv_1_1.conv.1."),
    ("decoder.pyramid.levels.2.mix.", "decoder.decoder_mono.upconv_1_1.conv_2."),
    ("decoder.unet.enter.conv.", "decoder.conv_out_2.conv0.conv."),
    ("decoder.unet.enter.norm.", "decoder.conv_out_2.conv0.bn."),
    ("decoder.unet.down.#.#.conv.", "decoder.conv_out_2.conv_#.#.conv."),
    ("decoder.unet.down.#.#.norm.", "decoder.conv_out_2.conv_#.#.bn."),
    ("decoder.unet.up.#.conv.", "decoder.conv_out_2.deconv_#.0."),
    ("decoder.unet.up.#.norm.", "decoder.conv_out_2.deconv_#.1."),
    ("decoder.unet.leave.", "decoder.conv_out_2.prob."),
    ("decoder.bins.", "decoder.depth_regressor_2."),
    ("decoder.detail.", "decoder.conv_up_2."),
    # RAFT-DPT
    ("decoder.reader.readouts.#.patch.", "decoder.token2feature.read_#.readoper.project_patch."),
    ("decoder.reader.readouts.#.summary.", "decoder.token2feature.read_#.readoper.project_learn."),
    ("decoder.reader.to_quarter.", "decoder.token2feature.read_0.sample.0."),
    ("decoder.reader.to_seventh.", "decoder.token2feature.read_1.sample."),
    ("decoder.fusion.deepest.trunk.", "decoder.decoder_mono.upconv_3.way_trunk."),
    ("decoder.fusion.deepest.project.", "decoder.decoder_mono.upconv_3.out_conv."),
    ("decoder.fusion.fourteenth.branch.", "decoder.decoder_mono.upconv_2.way_branch."),
    ("decoder.fusion.fourteenth.trunk.", "decoder.decoder_mono.upconv_2.way_trunk."),
    ("decoder.fusion.fourteenth.project.", "decoder.decoder_mono.upconv_2.out_conv."),
    ("decoder.fusion.seventh.branch.", "decoder.decoder_mono.upconv_1.way_branch."),
    ("decoder.fusion.seventh.trunk.", "decoder.decoder_mono.upconv_1.way_trunk."),
    ("decoder.fusion.seventh.project.", "decoder.decoder_mono.upconv_1.out_conv."),
    ("decoder.first.depth_bins.", "decoder.depth_regressor."),
    ("decoder.first.normal.", "decoder.normal_predictor."),
    ("decoder.contexts.#.gates.", "decoder.context_zqr_convs.#."),
    ("decoder.contexts.0.state.", "decoder.context_feature_encoder.outputs04.0."),
    ("decoder.contexts.0.inputs.", "decoder.context_feature_encoder.outputs04.1."),
    ("decoder.contexts.1.state.", "decoder.context_feature_encoder.outputs08.0."),
    ("decoder.contexts.1.inputs.", "decoder.context_feature_encoder.outputs08.1."),
    ("decoder.contexts.2.state.", "decoder.context_feature_encoder.outputs16.0."),
    ("decoder.contexts.2.inputs.", "decoder.context_feature_encoder.outputs16.1."),
    ("decoder.units.quarter.", "decoder.update_block.gru08."),
    ("decoder.units.seventh.", "decoder.update_block.gru16."),
    ("decoder.units.fourteenth.", "decoder.update_block.gru32."),
    ("decoder.heads.depth_hidden.", "decoder.update_block.flow_head.conv1d."),
    ("decoder.heads.depth.", "decoder.update_block.flow_head.conv2d."),
    ("decoder.heads.normal_hidden.", "decoder.update_block.flow_head.conv1n."),
    ("decoder.heads.normal.", "decoder.update_block.flow_head.conv2n."),
    ("decoder.heads.mask.", "decoder.update_block.mask."),
)
# Inside a context block and a recurrent unit, after the rules above.
_CONTEXT = {
    "conv1": "0.conv1",
    "conv2": "0.conv2",
    "norm1": "0.norm1",
    "norm2": "0.norm2",
    "shortcut": "0.downsample.0",
    "shortcut_norm": "0.downsample.1",
    "out": "1",
}
_GRU = {"update": "convz", "reset": "convr", "candidate": "convq"}
# The gated feed-forward layer of vit-giant2.
_GATED = {"mlp.fc1.": "mlp.w12.", "mlp.fc2.": "mlp.w3."}
# One layer norm of a context block under its two published names; where they differ the first counts.
_TWIN = (".0.downsample.1.", ".0.norm3.")

# Never read by a network: masking is for pre-training, and vit-giant2 reads its features before the last norm.
_UNREAD = ("encoder.mask_token",)
_UNREAD_WITH_TAPS = ("encoder.norm.weight", "encoder.norm.bias")
# Counts batches in training; checkpoints may lack it and networks do not use it.
_COUNTER = ".num_batches_tracked"


def official_names(model: str | nn.Module) -> dict[str, str]:
    """Published name of every tensor of a network, by our name; tied names count once."""
    name, shapes = _shapes(model)
    gated = f"{PREFIX}encoder.blocks." if getattr(ARCHITECTURES[name].encoder, "gated", False) else None
    return {key: _official(key, gated) for key in shapes}


def unread_names(model: str | nn.Module) -> frozenset[str]:
    """Published names that a checkpoint may hold and that carry nothing."""
    name, _ = _shapes(model)
    encoder = ARCHITECTURES[name].encoder
    if not hasattr(encoder, "taps"):
        return frozenset()
    unread = _UNREAD + (_UNREAD_WITH_TAPS if encoder.taps else ())
    return frozenset(PREFIX + key for key in unread)


def to_own(model: str | nn.Module, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict out of a published one; raises WeightsError naming what is missing, unexpected or misshapen."""
    name, shapes = _shapes(model)
    state = {}
    used, missing, misshapen = set(unread_names(name)), [], []
    for own, key in official_names(name).items():
        twin = key.replace(*_TWIN)
        used |= {key, twin}
        value = official.get(key, official.get(twin))
        if value is None and key.endswith(_COUNTER):
            value = torch.zeros((), dtype=torch.int64)
        if value is None:
            missing.append(key)
        elif value.shape != shapes[own]:
            misshapen.append(f"{key} {tuple(value.shape)} instead of {tuple(shapes[own])}")
        else:
            state[own] = value
    unexpected = [key for key in official if key not in used]
    _refuse(name, {"missing": missing, "unexpected": unexpected, "wrong shape": misshapen})
    return state


def to_official(model: str | nn.Module, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict out of ours, tied names written twice; raises WeightsError as `to_own` does."""
    name, shapes = _shapes(model)
    _refuse(name, {"missing": [k for k in shapes if k not in own], "unexpected": [k for k in own if k not in shapes]})
    state = {}
    for key, official in official_names(name).items():
        state[official] = own[key]
        state[official.replace(*_TWIN)] = own[key]
    return state


def _shapes(model: str | nn.Module) -> tuple[str, dict[str, torch.Size]]:
    """Name of a network and the shapes of its tensors, without memory for them."""
    name = model if isinstance(model, str) else getattr(model, "name", "")
    if name not in ARCHITECTURES:
        raise UsageError(f"{name or type(model).__name__} has no published tensor names")
    if isinstance(model, str):
        with torch.device("meta"):
            model = build_network(name)
    return name, {key: value.shape for key, value in model.state_dict().items()}


def _official(own: str, gated: str | None) -> str:
    key = PREFIX + next((renamed for rule in _COMPILED if (renamed := _renamed(own, *rule))), own)
    head, _, tail = key.rpartition(".")
    stem, _, last = head.rpartition(".")
    if ".contexts." in own and ".gates." not in own:
        return f"{stem}.{_CONTEXT[last]}.{tail}"
    if ".units." in own:
        return f"{stem}.{_GRU[last]}.{tail}"
    if gated and key.startswith(gated):
        for plain, packed in _GATED.items():
            key = key.replace(plain, packed)
    return key


def _renamed(own: str, pattern: re.Pattern[str], template: str) -> str | None:
    found = pattern.match(own)
    if found is None:
        return None
    return template.format(*found.groups()) + own[found.end() :]


def _compiled(rule: tuple[str, str]) -> tuple[re.Pattern[str], str]:
    own, official = rule
    return re.compile(re.escape(own).replace(re.escape("#"), r"(\d+)")), official.replace("#", "{}")


_COMPILED = tuple(_compiled(rule) for rule in _RULES)


def _refuse(name: str, faults: Mapping[str, list[str]]) -> None:
    told = [f"{word}: {listed(keys)}" for word, keys in faults.items() if keys]
    if told:
        raise WeightsError(f"the tensors do not fit {name} ({'; '.join(told)})", hint="is it the file of this model?")
