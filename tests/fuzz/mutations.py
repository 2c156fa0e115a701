"""Damage for fuzz tests: to bytes, to the words of a text, and to the values of plain data."""

from __future__ import annotations

import copy
import random
import re
from typing import Any

# Values that a careless reader does not expect, in place of any other.
ODD_VALUES: tuple[Any, ...] = (
    None, True, "", " ", "x", "nan", "1e999", "\ud800", "a" * 5000, "../../x", "<script>", 0, -1, 1, 2.5, 1e308, -1e308,
    float("nan"), float("inf"), 10**30, [], {}, [[]], [None], [1, 2], [[1, 2], [3]], {"x": 1}, [[[[1]]]],
)  # fmt: skip
ODD_WORDS = (
    "", "0", "-1", "1e999", "nan", "inf", "99999999999999999999", "true", '""', '"', "'", "[", "]", "[[", "{", "}", "=",
    "near", "1,2", "#", "\\", "\x00", "\ufeff", "=SUM(1)", "../../x", "<script>alert(1)</script>",
)  # fmt: skip


def seeded(seed: int | str) -> random.Random:
    """Numbers that are the same in every run."""
    return random.Random(seed)  # noqa: S311 - damage is no secret


def mutated(data: bytes, rng: random.Random, first: int = 0, last: int | None = None) -> bytes:
    """``data`` with a few bytes between ``first`` and ``last`` flipped, overwritten, removed, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        end = min(len(changed), last) if last is not None else len(changed)
        if end <= first:
            break
        at = rng.randrange(first, end)
        _MUTATIONS[rng.randrange(len(_MUTATIONS))](changed, at, rng)
    return bytes(changed)


def _flip(data: bytearray, at: int, rng: random.Random) -> None:
    data[at] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, at: int, rng: random.Random) -> None:
    data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _overwrite_word(data: bytearray, at: int, rng: random.Random) -> None:
    data[at : at + 4] = rng.choice(
        (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\x40\0", rng.randbytes(4))
    )


def _remove(data: bytearray, at: int, rng: random.Random) -> None:
    del data[at : at + rng.randrange(1, 32)]


def _double(data: bytearray, at: int, rng: random.Random) -> None:
    data[at:at] = data[at : at + rng.randrange(1, 32)]


def _cut(data: bytearray, at: int, rng: random.Random) -> None:
    if rng.random() < 0.3:
        del data[at:]


_MUTATIONS = (_flip, _flip, _overwrite, _overwrite_word, _remove, _double, _cut)


def reworded(text: str, rng: random.Random) -> str:
    """``text`` with a few of its words, numbers or marks replaced, removed or said twice."""
    parts = re.split(r"([\w.]+|\W)", text)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(parts))
        parts[at] = rng.choice((rng.choice(ODD_WORDS), rng.choice(parts), parts[at] * 2, ""))
    return "".join(parts)


def revalued(content: Any, rng: random.Random) -> Any:
    """A copy of plain data with a few of its values replaced, removed or doubled, at any depth."""
    found = {"": copy.deepcopy(content)}
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        parent, key = rng.choice(list(_places(found)))
        change = rng.random()
        if change < 0.75 or key == "":
            parent[key] = copy.deepcopy(rng.choice(ODD_VALUES))
        elif change < 0.9:
            del parent[key]
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
    return found[""]


def _places(content: Any) -> Any:
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(items):
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)
