"""Damaged depth files, weights, ONNX graphs, checkpoints, records, journals and videos end in a result or in an error
that names the file, within 5 s each. ``M3D_FUZZ=1500 pytest tests/fuzz/test_fuzz_binary_files.py`` tries more of each.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import time
import zlib
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from m3d_cli.datasets.depth_files import DepthRule, read_normals, read_raw
from m3d_cli.errors import M3dError, WeightsError
from m3d_cli.evaluation.results import read_image_lines
from m3d_cli.formats.depth_png import encode_depth_png, read_depth_png
from m3d_cli.formats.normal_png import encode_normal_png, read_normal_png
from m3d_cli.inference.device import Compute
from m3d_cli.inference.onnx_predictor import OnnxPredictor
from m3d_cli.inference.openvino_predictor import OpenVinoPredictor
from m3d_cli.models.create import create_model
from m3d_cli.models.metric3d import build_network
from m3d_cli.models.own_weights import chosen_name, with_weights
from m3d_cli.models.registry import ChosenWeights
from m3d_cli.models.spec import TEST_LITE
from m3d_cli.models.store import find_installed, weights_folder
from m3d_cli.models.weights import load_weights, save_weights
from m3d_cli.pipeline.journal import Journal
from m3d_cli.training.checkpoint import RunState, load_checkpoint, save_checkpoint
from m3d_cli.training.encoder_file import read_encoder

_spec = importlib.util.spec_from_file_location("mutations", Path(__file__).with_name("mutations.py"))
mutations = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mutations)

TRIES = int(os.environ.get("M3D_FUZZ", "40"))
# Of CPU, on machines that may be several times slower than another day.
SECONDS = 5.0
# Bytes at the beginning of a file of tensors that say what and where they are.
HEADER = 4000
RNG = np.random.default_rng(11)
DEPTH = RNG.uniform(0.5, 9, (12, 16)).astype(np.float32)
NORMALS = np.tile(np.float32([0, 0, 1]), (12, 16, 1))


def tried(path, data, read):
    """Read damaged bytes: any error is one of m3d's and names the file or its folder."""
    path.write_bytes(data)
    begin = time.process_time()
    message = str(path)
    try:
        read(path)
    except M3dError as error:
        message = error.message
    assert str(path.parent) in message
    assert time.process_time() - begin < SECONDS


def try_all(path, sound, read, *, first=0, last=None, tries=TRIES):
    """Read ``sound`` bytes, which must succeed, and so many damaged copies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sound)
    read(path)
    rng = mutations.seeded(path.name)
    for number in range(tries):
        # Where bytes say what a file is, and all over it.
        end = last if number % 2 else None
        tried(path, mutations.mutated(sound, rng, first, end), read)


def encoded(suffix, values):
    return cv2.imencode(suffix, values)[1].tobytes()


def npy(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def npz(**values):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **values)
    return buffer.getvalue()


def hdf5(**values):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in values.items():
            file.create_dataset(name, data=array, compression="gzip")
    return buffer.getvalue()


def tiff():
    buffer = io.BytesIO()
    Image.fromarray(DEPTH).save(buffer, "TIFF", compression="tiff_adobe_deflate")
    return buffer.getvalue()


STEPS = (1000 * DEPTH).astype(np.uint16)
DEPTH_FILES = {
    "grey.png": encoded(".png", STEPS),
    "grey.pgm": encoded(".pgm", STEPS),
    "grey.tif": encoded(".tiff", STEPS),
    "float.tiff": tiff(),
    "float.pfm": encoded(".pfm", DEPTH),
    "float.npy": npy(DEPTH),
    "float.npz": npz(depth=DEPTH, other=NORMALS),
    "float.hdf5": hdf5(dataset=DEPTH),
}


@pytest.mark.parametrize("name", DEPTH_FILES)
def test_damaged_depth_of_data_sets(tmp_path, name):
    try_all(tmp_path / name, DEPTH_FILES[name], DepthRule(1000).read, last=128)


@pytest.mark.parametrize("name", ["normals.npy", "normals.npz", "normals.h5"])
def test_damaged_normals_of_data_sets(tmp_path, name):
    sound = {"npy": npy(NORMALS), "npz": npz(depth=NORMALS), ".h5": hdf5(dataset=NORMALS)}[name[-3:]]
    try_all(tmp_path / name, sound, read_normals, last=128)


def test_damaged_depth_and_normals_of_our_own(tmp_path):
    try_all(tmp_path / "depth.png", encode_depth_png(DEPTH)[0], read_depth_png, last=200)
    try_all(tmp_path / "normals.png", encode_normal_png(NORMALS), read_normal_png, last=200)
    # Damage behind a checksum that fits it again.
    rng = mutations.seeded("text")
    sound = encode_depth_png(DEPTH)[0]
    for _ in range(TRIES):
        scale = mutations.reworded("1000", rng).encode("utf-8", "surrogatepass")
        at = sound.index(b"tEXtm3d:depth_scale\0")
        end = at + 8 + sound[at - 1]
        chunk = b"tEXtm3d:depth_scale\0" + scale
        checked = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        tried(tmp_path / "depth.png", sound[: at - 4] + checked + sound[end:], read_depth_png)


def weights_of(kind, path):
    """A file of the tiny network's tensors."""
    model = create_model("m3d-test-lite")
    if kind == "pth":
        torch.save({"model_state_dict": model.state_dict()}, path)
    else:
        save_weights(model, path, compact=kind == "compact")
    return model, path.read_bytes()


@pytest.mark.parametrize("kind", ["pth", "safetensors", "compact"])
def test_damaged_weights(tmp_path, kind):
    model, sound = weights_of(kind, tmp_path / "sound")
    file = tmp_path / f"{kind}.{'pth' if kind == 'pth' else 'safetensors'}"

    def read(path):
        with_weights(TEST_LITE, ChosenWeights(path, "0" * 64))
        chosen_name(None, path)
        load_weights(model, path)

    try_all(file, sound, read, last=HEADER)
    if kind == "pth":
        # The directory of the archive stands at its end.
        try_all(file, sound, read, first=len(sound) - HEADER, last=len(sound))


def test_damaged_headers_of_safetensors(tmp_path):
    model, sound = weights_of("safetensors", tmp_path / "sound")
    length = int.from_bytes(sound[:8], "little")
    header, rng = json.loads(sound[8 : 8 + length]), mutations.seeded("header")
    for _ in range(TRIES):
        data = json.dumps(mutations.revalued(header, rng)).encode("utf-8", "surrogatepass")
        whole = len(data).to_bytes(8, "little") + data + sound[8 + length :]
        tried(tmp_path / "header.safetensors", whole, lambda path: load_weights(model, path))
        tried(tmp_path / "header.safetensors", whole, lambda path: chosen_name(None, path))


def test_damaged_checkpoints_of_a_run(tmp_path):
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    state = RunState(network, torch.nn.Linear(3, 2), optimiser)
    save_checkpoint(tmp_path / "sound.pt", 4, state, "digest")
    sound = (tmp_path / "sound.pt").read_bytes()
    try_all(tmp_path / "checkpoint.pt", sound, lambda path: load_checkpoint(path, state, "digest"), last=1200)


def test_damaged_records_of_installed_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("M3D_CACHE", str(tmp_path))
    stored = {"name": "m3d-test-vit-0.pth", "size": 4, "sha256": "0" * 64}
    record = {"model": "m3d-test-vit", "called": "tiny.pth", "checkpoint": stored, "loaded": stored}
    path, rng = weights_folder() / "m3d-test-vit.json", mutations.seeded("record")
    try_all(path, json.dumps(record).encode(), lambda _: find_installed("m3d-test-vit"))
    for _ in range(TRIES):
        data = json.dumps(mutations.revalued(record, rng)).encode("utf-8", "surrogatepass")
        tried(path, data, lambda _: find_installed("m3d-test-vit"))


def graph(names):
    """A small ONNX file with metadata and initialisers of these names."""
    onnx = pytest.importorskip("onnx")
    values = [onnx.numpy_helper.from_array(np.ones((3, 3), np.float32), name) for name in names]
    nodes = [
        onnx.helper.make_node("MatMul", ["image", names[0]], ["product"]),
        onnx.helper.make_node("Add", ["product", names[1]], ["depth"]),
    ]
    shape = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["b", 3, 3]) for name in ("image", "depth")
    ]
    body = onnx.helper.make_graph(nodes, "g", shape[:1], shape[1:], values)
    model = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    model.metadata_props.add(key="m3d:model", value="m3d-test-lite")
    return model.SerializeToString()


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_damaged_onnx_files(tmp_path, backend):
    pytest.importorskip("onnxruntime" if backend == "onnx" else "openvino")
    predictor = OnnxPredictor if backend == "onnx" else OpenVinoPredictor
    sound = graph(("weight", "bias"))

    def read(path):
        with_weights(TEST_LITE, ChosenWeights(path, "0" * 64))
        predictor(path, TEST_LITE, Compute(torch.device("cpu"), "fp32"))

    rng, path = mutations.seeded(backend), tmp_path / "graph.onnx"
    path.write_bytes(sound)
    with pytest.raises(WeightsError, match=r"graph\.onnx: takes images of \[3, 3\]"):
        read(path)
    for _ in range(TRIES if backend == "onnx" else TRIES // 4):
        tried(path, mutations.mutated(sound, rng), read)


def test_damaged_encoders(tmp_path):
    layer = "backbone.encoder.layer.0."
    sound = graph((f"{layer}mlp.fc2.weight", f"{layer}mlp.fc1.bias", "backbone.embeddings.cls_token"))
    rng = mutations.seeded("encoder")
    for _ in range(TRIES):
        tried(tmp_path / "encoder.onnx", mutations.mutated(sound, rng), read_encoder)
    torch.save(build_network("m3d-test-vit").encoder.state_dict(), tmp_path / "sound")
    data = (tmp_path / "sound").read_bytes()
    try_all(tmp_path / "encoder.pth", data, read_encoder, last=HEADER, tries=TRIES // 4)


def journal_lines():
    photo = {"path": "a.jpg", "status": "done", "key": "k", "outputs": ["a.png"], "sizes": [3], "width": 4, "height": 3}
    facts = {"focal_px": 90.0, "focal_source": "exif", "median_m": 2.5, "warnings": ["w"], "seconds": {"decode": 0.1}}
    begun = {"path": "b.jpg", "status": "started", "key": "l", "outputs": ["b.png"], "at": 1.0, "seq": 1}
    failed = {"path": "c.jpg", "status": "error", "key": "m", "error": {"code": "X", "message": "m", "hint": "h"}}
    stamps = {"at": 2.0, "seq": 2, "mtimes_ns": [1], "digests": ["0" * 32]}
    return [photo | facts | stamps, begun, failed]


def test_damaged_journals(tmp_path):
    (tmp_path / "a.png").write_bytes(b"png")

    def read(path):
        journal = Journal.peek(path.parent)
        for key in ("k", "l", "m"):
            journal.finished(key, "a.jpg")
        journal.owns(tmp_path / "a.png")
        journal.standing(".png")
        with Journal(path.parent) as opened:
            opened.finished("k", "a.jpg")

    rng, path = mutations.seeded("journal"), tmp_path / "m3d-run.jsonl"
    for _ in range(TRIES):
        lines = [json.dumps(mutations.revalued(line, rng)) for line in journal_lines()]
        data = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
        tried(path, mutations.mutated(data, rng) if rng.random() < 0.5 else data, read)


def test_damaged_scores_of_images(tmp_path):
    row = {"name": "a", "align": {"none": {"abs_rel": 0.1}}, "pixels": 4}
    try_all(tmp_path / "scores.jsonl", (json.dumps(row) + "\n").encode(), read_image_lines)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_videos(tmp_path, suffix):
    av = pytest.importorskip("av")
    from m3d_cli.sequences.clip import Clip

    def read(path):
        clip = Clip(path)
        for frame in clip.frames():
            assert frame.image.ndim == 3
        clip.close()

    sound = tmp_path / f"sound{suffix}"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for _ in range(4):
            image = RNG.integers(0, 255, (16, 32, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    # The tables of an MP4 stand at its end.
    try_all(tmp_path / f"clip{suffix}", sound.read_bytes(), read, tries=TRIES)


def test_what_depth_files_hold_is_what_was_written(tmp_path):
    """The undamaged ones are read as depth, so that damage meets the readers and not their first refusal."""
    for name, data in DEPTH_FILES.items():
        (tmp_path / name).write_bytes(data)
        values = read_raw(tmp_path / name)
        np.testing.assert_allclose(values, STEPS if values.dtype == np.uint16 else DEPTH, rtol=1e-6)
