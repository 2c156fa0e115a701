"""Exported ONNX files: what they hold, and sessions on them. Loads no torch."""

from __future__ import annotations

import io
import os
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from m3d_cli.bounded_files import reading
from m3d_cli.errors import UsageError, WeightsError
from m3d_cli.extras import install_hint
from m3d_cli.models.spec import ModelSpec

AUTO, TORCH, ONNX, OPENVINO = "auto", "torch", "onnx", "openvino"
BACKENDS = (AUTO, TORCH, ONNX, OPENVINO)
SUFFIX = ".onnx"
INPUT = "image"
OUTPUTS = ("depth", "confidence", "normals", "normal_kappa")

METADATA_FIELD = 14
# Ours have some hundred bytes.
MOST_METADATA_BYTES = 1_000_000
# Outermost fields of a file, and those of an entry; real ones have dozens.
MOST_FIELDS = 10_000

# Metadata of the file.
MODEL_KEY = "m3d:model"
WEIGHTS_KEY = "m3d:weights_sha256"


def check_backend(asked: str, weights: Path | None) -> None:
    """Raise UsageError for a backend that is unknown, and for torch on an exported graph."""
    if asked not in BACKENDS:
        raise UsageError(f"--backend {asked} is unknown", hint=f"one of {', '.join(BACKENDS)}")
    if asked == TORCH and weights is not None and weights.suffix == SUFFIX:
        raise UsageError(f"--backend {TORCH} does not run {weights}", hint="leave --backend out")


def named_model(weights: Path | None) -> str | None:
    """The network that an exported file says it holds; None for files of other kinds and those that say nothing."""
    if weights is None or weights.suffix != SUFFIX or not weights.is_file():
        return None
    return metadata_of(weights).get(MODEL_KEY)


def metadata_of(path: Path) -> dict[str, str]:
    """What an exported file states of itself; empty for files of other kinds and those that state nothing.

    Only the file's outermost fields are read, so that a large one costs nothing: ``metadata_props`` is field 14 of the
    ModelProto, each entry a key (field 1) and a value (field 2).
    """
    try:
        with reading(path, "the metadata", WeightsError), path.open("rb") as file:
            entries = [dict(_fields(io.BytesIO(data))) for _, data in _fields(file, {METADATA_FIELD})]
            return {entry[1].decode(): entry[2].decode() for entry in entries if {1, 2} <= entry.keys()}
    except WeightsError:
        return {}  # what is wrong with it is reported when it is opened


def _fields(file: BinaryIO, wanted: Container[int] = (1, 2)) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of the ``wanted`` fields of a protocol buffer; raises ValueError for what is none."""
    read = seen = 0
    while (tag := _varint(file)) is not None:
        seen += 1
        if seen > MOST_FIELDS:
            raise ValueError(f"more than {MOST_FIELDS} fields")
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _varint(file)
            continue
        if wire != 2:
            raise ValueError(f"wire type {wire}")
        length = _varint(file) or 0
        if number not in wanted:
            file.seek(length, os.SEEK_CUR)
            continue
        read += length
        if read > MOST_METADATA_BYTES:
            raise ValueError(f"{read} bytes of metadata")
        yield number, file.read(length)


def _varint(file: BinaryIO) -> int | None:
    """The next number, seven bits a byte from the lowest on; None at the end."""
    value = 0
    for shift in range(0, 63, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("a number without end")


def data_file(path: Path) -> Path:
    """Where the weights of a file larger than 2 GiB lie."""
    return path.with_name(path.name + ".data")


def open_session(path: Path, threads: int, providers: Sequence[str] = ("CPUExecutionProvider",)) -> Any:
    """An onnxruntime session on ``path``; raises UsageError without onnxruntime and WeightsError for a bad file."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError("running ONNX files needs onnxruntime", hint=install_hint("onnx")) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    with reading(path, "the ONNX file", WeightsError, "export it again"):
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))


def check_graph(path: Path, name: str | None, shape: Sequence[int], spec: ModelSpec) -> None:
    """Raise WeightsError unless the file says the ``name`` of this network and takes images of its ``shape``."""
    if name is None:
        raise WeightsError(f"{path}: was not made by m3d export onnx", hint="export it again")
    if name != spec.name:
        raise WeightsError(f"{path}: holds {name}, not {spec.name}", hint=f"--model {name}")
    wanted = [3, spec.canonical.height, spec.canonical.width]
    if list(shape) != wanted:
        raise WeightsError(f"{path}: takes images of {list(shape)}, not {wanted}", hint="export it again")


def name_in(session: Any) -> str | None:
    """The network that an onnxruntime session says it holds."""
    name: str | None = session.get_modelmeta().custom_metadata_map.get(MODEL_KEY)
    return name


def as_input(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """What a graph takes, (B, 3, height, width) of 0..255, from images (height, width, 3)."""
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2), dtype=np.float32)
