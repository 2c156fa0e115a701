"""How to store 12 megapixels of depth: encoders, filters and levels of 16-bit PNG, and containers without compression.

    pip install zlib-ng isal deflate && python bench/png.py

The depth is the bundled network's on a sample photo, brought to 12 megapixels. One thread; packages that are missing
are left out. Results go to bench/results/png.json.
"""

from __future__ import annotations

import json
import platform
import statistics
import struct
import time
import zlib
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from depth import commit
from numpy.typing import NDArray

from m3d_cli.formats.depth_png import MILLIMETRES, encode_depth_png, quantise
from m3d_cli.formats.float_images import encode_npy
from m3d_cli.inference.device import choose_compute
from m3d_cli.inference.predictor import Predictor, to_canonical
from m3d_cli.models.create import load_model
from m3d_cli.models.spec import model_spec
from m3d_cli.photos.load import load_photo

WIDTH, HEIGHT = 4000, 3000
ROUNDS = 5
ROOT = Path(__file__).parent.parent
Encoder = Callable[[], object]


def depth_of_a_photo() -> NDArray[np.float32]:
    """Depth in metres (HEIGHT, WIDTH) as the bundled network sees a sample photo."""
    spec = model_spec("lite")
    photo = load_photo(sorted((ROOT / "tests" / "data" / "photos").glob("*.jpg"))[0])
    made = Predictor(load_model("lite"), spec, choose_compute("cpu")).predict(
        [to_canonical(photo.image, photo.camera, spec)]
    )[0]
    return np.asarray(cv2.resize(made.depth, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR), np.float32)


def by_hand(values: NDArray[np.uint16], deflate: Callable[[bytes], bytes], *, up: bool) -> bytes:
    """A PNG whose rows are filtered here (none, or the difference to the row above) and packed by ``deflate``."""
    rows = values.astype(">u2").view(np.uint8).reshape(len(values), -1)
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2 if up else 0
    filtered[:, 1:] = rows
    if up:
        filtered[1:, 1:] -= rows[:-1]
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", deflate(filtered.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
        for kind, body in chunks
    )


def opencv(values: NDArray[np.uint16], level: int, flag: int) -> bytes:
    """OpenCV's encoder."""
    flags = [cv2.IMWRITE_PNG_COMPRESSION, level, cv2.IMWRITE_PNG_FILTER, flag]
    return cv2.imencode(".png", values, flags)[1].tobytes()


def encoders(depth: NDArray[np.float32]) -> dict[str, Encoder]:
    """Every way to try, by its name."""
    values, _ = quantise(depth, MILLIMETRES)
    ways: dict[str, Encoder] = {"m3d depth's PNG, quantised from metres": lambda: encode_depth_png(depth)[0]}
    filters = {"none": cv2.IMWRITE_PNG_FILTER_NONE, "sub": cv2.IMWRITE_PNG_FILTER_SUB, "up": cv2.IMWRITE_PNG_FILTER_UP}
    filters["paeth"] = cv2.IMWRITE_PNG_FILTER_PAETH
    for name, flag in filters.items():
        ways[f"opencv level 1, {name}"] = lambda flag=flag: opencv(values, 1, flag)
    ways["opencv level 3, up"] = lambda: opencv(values, 3, cv2.IMWRITE_PNG_FILTER_UP)
    ways["opencv level 6, up"] = lambda: opencv(values, 6, cv2.IMWRITE_PNG_FILTER_UP)
    ways["zlib level 1, up"] = lambda: by_hand(values, lambda data: zlib.compress(data, 1), up=True)
    for package, levels in (("zlib_ng.zlib_ng", (1, 2)), ("isal.isal_zlib", (0, 1)), ("deflate", (1,))):
        try:
            module = import_module(package)
        except ImportError:
            continue
        compress = module.zlib_compress if package == "deflate" else module.compress
        for level in levels:
            ways[f"{package.partition('.')[0]} level {level}, up"] = lambda compress=compress, level=level: by_hand(
                values, lambda data: bytes(compress(data, level)), up=True
            )
    ways["npy of float32 metres"] = lambda: b"".join(encode_npy(depth))
    return ways


def main() -> None:
    """Time every way in turn, print and keep the result."""
    cv2.setNumThreads(1)
    ways = encoders(depth_of_a_photo())
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    sizes: dict[str, int] = {}
    for _ in range(ROUNDS):
        for name, encode in ways.items():
            begin = time.thread_time()
            data = encode()
            seconds[name].append(time.thread_time() - begin)
            sizes[name] = len(data)  # type: ignore[arg-type]
    rows = [
        {"way": name, "cpu_seconds": statistics.median(seconds[name]), "megabytes": sizes[name] / 1e6} for name in ways
    ]
    for row in rows:
        print(f"{row['way']:42}{row['cpu_seconds']:8.3f} s{row['megabytes']:8.2f} MB")
    result = {
        "megapixels": WIDTH * HEIGHT / 1e6,
        "rows": rows,
        "commit": commit(),
        "versions": {name: version(name) for name in ("numpy", "opencv-python")},
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    (Path(__file__).parent / "results" / "png.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
