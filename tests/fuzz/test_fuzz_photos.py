"""Damaged images and EXIF end in a photo or a `PhotoError`, soon and in little memory; never in another error."""

from __future__ import annotations

import importlib.util
import io
import os
import random
import resource
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from m3d_cli.errors import PhotoError
from m3d_cli.intrinsics.exif import read_exif
from m3d_cli.photos.header import opened
from m3d_cli.photos.load import load, read_facts

_spec = importlib.util.spec_from_file_location("mutations", Path(__file__).with_name("mutations.py"))
mutations = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mutations)
mutated = mutations.mutated

IMAGES = 500
EXIF_BLOCKS = 500
SECONDS_EACH = 8.0
BYTES_EACH = 500 * 1024 * 1024
FORMATS = ("jpg", "jpg-progressive", "png", "webp", "tif", "tif-lzw", "heic", "avif", "gif", "bmp")


@pytest.fixture(autouse=True)
def _as_in_production() -> Iterator[None]:
    """Pillow's warnings are not errors for a user, and this is about what users meet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def originals() -> dict[str, bytes]:
    """One small image with full EXIF in every format."""
    pillow_heif.register_heif_opener()
    rng = np.random.default_rng(3)
    smooth = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    image = Image.fromarray(smooth)
    return {name: _saved(image, name) for name in FORMATS}


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Canon", "Canon EOS 40D", 6
    ifd = exif.get_ifd(0x8769)
    ifd[0x920A], ifd[0xA405] = IFDRational(35, 1), 56
    ifd[0xA20E], ifd[0xA20F], ifd[0xA210] = IFDRational(4438, 1), IFDRational(4445, 1), 2
    ifd[0xA002], ifd[0xA003], ifd[0xA404] = 3888, 2592, IFDRational(1, 1)
    return exif.tobytes()


def _saved(image: Image.Image, name: str) -> bytes:
    suffix, _, variant = name.partition("-")
    options = {"progressive": {"progressive": True}, "lzw": {"compression": "tiff_lzw"}}.get(variant, {})
    kind = {"jpg": "JPEG", "tif": "TIFF", "heic": "HEIF"}.get(suffix, suffix.upper())
    # Pillow cannot write EXIF into a TIFF that libtiff compresses.
    if kind not in ("GIF", "BMP") and variant != "lzw":
        options = {**options, "exif": _exif()}
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
# Linux: this number forgets the largest resident size, so that the next peak is one file's own.
FORGET_PEAK = "5"
CAN_FORGET = os.access(CLEAR_REFS, os.W_OK)


def forget_peak() -> None:
    if CAN_FORGET:
        CLEAR_REFS.write_text(FORGET_PEAK, encoding="ascii")


def peak_bytes() -> int:
    """Largest resident size since `forget_peak`; since the start of the process where nothing can be forgotten."""
    if not CAN_FORGET:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not CAN_FORGET, reason="this system does not let a process forget its peak")
def test_the_peak_of_one_file_is_not_hidden_by_a_larger_one_before():
    size = 64 * 1024 * 1024
    before = _peak_of(4 * size)
    forget_peak()
    assert peak_bytes() < before - size
    start = peak_bytes()
    assert _peak_of(size) - start > size // 2


def _peak_of(size: int) -> int:
    """Peak after ``size`` bytes were held and given back."""
    np.ones(size, dtype=np.uint8)
    return peak_bytes()


def outcome(path: Path) -> str:
    """What became of one file, within the limits."""
    forget_peak()
    before, start = peak_bytes(), time.perf_counter()
    try:
        loaded = load(path)
        assert loaded.image.dtype == np.uint8
        assert loaded.image.shape == (loaded.camera.height, loaded.camera.width, 3)
        result = "photo"
    except PhotoError as error:
        assert str(path) in error.message  # noqa: PT017 - both outcomes are right
        result = "error"
    assert time.perf_counter() - start < SECONDS_EACH
    assert peak_bytes() - before < BYTES_EACH
    return result


def test_five_hundred_damaged_pictures_end_in_a_photo_or_a_photo_error(tmp_path, originals, capfd):
    outcomes = []
    for seed in range(IMAGES):
        rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
        name = FORMATS[seed % len(FORMATS)]
        path = tmp_path / f"{seed}.{name.partition('-')[0]}"
        path.write_bytes(mutated(originals[name], rng))
        outcomes.append(outcome(path))
        path.unlink()
    # Both ends are reached, or the damage was too weak or too strong to test anything.
    assert min(outcomes.count("photo"), outcomes.count("error")) > IMAGES // 10
    assert capfd.readouterr().out == ""


def test_five_hundred_damaged_exif_blocks_do_not_cost_the_photo(tmp_path, originals):
    block = _exif().removeprefix(b"Exif\0\0")
    outcomes = []
    for seed in range(EXIF_BLOCKS):
        rng = random.Random(10_000 + seed)  # noqa: S311
        name = ("jpg", "png", "webp", "tif", "heic")[seed % 5]
        path = tmp_path / f"{seed}.{name}"
        data = originals[name]
        at = data.find(block[:4], 4 if name == "tif" else 0)
        # The damaged block may change its length only where the format does not frame it.
        path.write_bytes(mutated(data, rng, max(at, 8), at + len(block)))
        read_exif(path, opened)
        outcomes.append(outcome(path))
        path.unlink()
    assert outcomes.count("photo") > EXIF_BLOCKS // 4


def test_five_hundred_damaged_exif_payloads_in_a_sound_file_keep_the_photo(tmp_path, originals):
    """The block is damaged before the file is written, so that the image around it is whole."""
    clean = _exif()
    image = Image.open(io.BytesIO(originals["png"]))
    path = tmp_path / "photo.jpg"
    for seed in range(EXIF_BLOCKS):
        rng = random.Random(20_000 + seed)  # noqa: S311
        image.save(path, exif=b"Exif\0\0" + mutated(clean.removeprefix(b"Exif\0\0"), rng))
        facts = read_facts(path)
        assert facts.camera.focal > 0
        assert outcome(path) == "photo"


@pytest.mark.parametrize("name", FORMATS)
def test_every_length_of_a_file_cut_short_is_survived(tmp_path, originals, name):
    data = originals[name]
    path = tmp_path / f"cut.{name.partition('-')[0]}"
    for length in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:length])
        outcome(path)


@pytest.mark.parametrize("seed", range(40))
def test_random_bytes_behind_a_true_beginning_are_survived(tmp_path, originals, seed):
    rng = random.Random(seed)  # noqa: S311
    name = FORMATS[seed % len(FORMATS)]
    path = tmp_path / f"noise.{name.partition('-')[0]}"
    path.write_bytes(originals[name][: rng.randrange(4, 64)] + rng.randbytes(2000))
    outcome(path)


def test_a_huge_size_in_the_header_does_not_take_the_memory(tmp_path, originals):
    for name, at, width in (("png", 16, 4), ("gif", 6, 2), ("bmp", 18, 4)):
        order = "big" if name == "png" else "little"
        data = bytearray(originals[name])
        data[at : at + 2 * width] = (20_000).to_bytes(width, order) * 2
        path = tmp_path / f"huge.{name}"
        path.write_bytes(data)
        assert outcome(path) == "error"
        assert os.path.getsize(path) < 100_000  # noqa: PTH202
