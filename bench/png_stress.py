"""Encode depth PNGs in many threads and compare every one, byte by byte and pixel by pixel, with its reference.

    python bench/png_stress.py --encodes 100000 --threads 4

Maps of different sizes and kinds are encoded again and again, from arrays that are overwritten and freed as soon as the
encoder is done with them. A difference is counted as one of the steps (`quantise`), of the packed bytes with equal
pixels, or of the pixels; the exit code is 1 if there was any.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from m3d_cli.formats.depth_png import encode_steps, quantise
from m3d_cli.formats.png16 import decode_png16

SCALE = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A depth map, its steps worked out by numpy alone, and the digest of its PNG, encoded in one thread."""

    depth: NDArray[np.float32]
    steps: NDArray[np.uint16]
    digest: bytes


@dataclass(slots=True)
class Tally:
    """What was encoded, and what differed, by kind."""

    encodes: int = 0
    differences: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, wrong: list[str]) -> None:
        """One more encode."""
        with self.lock:
            self.encodes += 1
            self.differences.update(wrong)


def depth_maps(count: int, longest: int, seed: int = 0) -> list[NDArray[np.float32]]:
    """Noise, ramps, scenes with holes and smooth surfaces, of all sizes up to ``longest``."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        height, width = (int(side) for side in rng.integers(1, longest + 1, 2))
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        kinds = (
            rng.uniform(0.1, 80, (height, width)),
            0.5 + columns / width * 60,
            np.where((rows // 7 + columns // 5) % 3 == 0, np.nan, 2 + rows / 50),
            3 + np.sin(columns / 30) + np.cos(rows / 20),
        )
        made.append(np.ascontiguousarray(kinds[number % len(kinds)], dtype=np.float32))
    return made


def reference_of(depth: NDArray[np.float32]) -> Reference:
    """The map with what its PNG must hold."""
    with np.errstate(invalid="ignore"):
        steps = np.rint(np.nan_to_num(depth.astype(np.float64) * SCALE))
    steps[steps > np.iinfo(np.uint16).max] = 0
    data = encode_steps(steps.astype(np.uint16), SCALE)
    return Reference(depth, steps.astype(np.uint16), hashlib.sha256(data).digest())


def differences(reference: Reference) -> list[str]:
    """What is wrong with one more encode of a map; nothing, as a rule."""
    depth = reference.depth.copy()
    values, _ = quantise(depth, SCALE)
    # float32 and float64 products may round to different steps, by one.
    wrong = ["steps"] if int(np.abs(values.astype(np.int64) - reference.steps).max()) > 1 else []
    values[:] = reference.steps
    data = encode_steps(values, SCALE)
    # Nothing of the result may still refer to the array it was made from.
    values[:] = 0xA5A5
    depth[:] = np.nan
    if hashlib.sha256(data).digest() != reference.digest:
        is_same = np.array_equal(decode_png16(data, "stress"), reference.steps)
        wrong.append("bytes of equal pixels" if is_same else "pixels")
    return wrong


def stress(encodes: int, threads: int, maps: int = 24, longest: int = 320, seconds: float = float("inf")) -> Tally:
    """Encode in ``threads`` threads at once until ``encodes`` are done or the time is over."""
    references = [reference_of(depth) for depth in depth_maps(maps, longest)]
    tally, end = Tally(), time.monotonic() + seconds

    def work(first: int) -> None:
        for number in range(first, encodes, threads):
            if time.monotonic() > end:
                return
            tally.count(differences(references[(number * 7 + first) % len(references)]))

    workers = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return tally


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encodes", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--longest", type=int, default=320, help="longest side in pixels")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many")
    given = parser.parse_args()
    begin = time.monotonic()
    tally = stress(given.encodes, given.threads, longest=given.longest, seconds=given.seconds)
    found = dict(tally.differences) or "no difference"
    print(f"{tally.encodes} encodes in {time.monotonic() - begin:.0f} s, {given.threads} threads: {found}")
    return 1 if tally.differences else 0


if __name__ == "__main__":
    sys.exit(main())
