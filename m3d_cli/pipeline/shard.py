"""One of several equal parts of a run, so that machines which share a disk share the work."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from m3d_cli.errors import UsageError
from m3d_cli.pipeline.plan import Job

AUTO = "auto"

# Where schedulers tell a process its number and how many there are; the first array's numbers may begin anywhere.
_SCHEDULERS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("SLURM_PROCID", "SLURM_NTASKS", ""),
    ("RANK", "WORLD_SIZE", ""),
)

AnyJob = TypeVar("AnyJob", bound=Job)


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``number`` of ``count``, counted from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, relative: PurePosixPath) -> bool:
        """Whether a photo is in this part: by its relative path alone, so that photos may come and go."""
        digest = hashlib.sha256(relative.as_posix().encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    def of(self, jobs: Iterable[AnyJob]) -> tuple[AnyJob, ...]:
        """The jobs of this part."""
        return tuple(job for job in jobs if self.holds(job.photo.relative))


def parse_shard(text: str, environment: Mapping[str, str] | None = None) -> Shard:
    """``2/5``, or ``auto`` for what SLURM, torchrun or another launcher says in the environment."""
    if text == AUTO:
        return _scheduled(os.environ if environment is None else environment)
    number, _, count = text.partition("/")
    if not (number.isascii() and number.isdigit() and count.isascii() and count.isdigit()):
        raise UsageError(f"--shard {text} is neither {AUTO} nor I/N", hint="for example 2/5: the second of five parts")
    return _checked(int(number), int(count), f"--shard {text}")


def _scheduled(environment: Mapping[str, str]) -> Shard:
    for number, count, first in _SCHEDULERS:
        if number in environment and count in environment:
            said = ", ".join(f"{name}={environment[name]}" for name in (number, count))
            try:
                begin = int(environment.get(first, "0")) if first else 0
                return _checked(int(environment[number]) - begin + 1, int(environment[count]), said)
            except ValueError:
                raise UsageError(f"{said}: not numbers", hint="say --shard I/N") from None
    names = " or ".join(f"{number} and {count}" for number, count, _ in _SCHEDULERS)
    raise UsageError(f"--shard {AUTO}: neither {names} is set", hint="say --shard I/N")


def _checked(number: int, count: int, said: str) -> Shard:
    if not 1 <= number <= count:
        raise UsageError(f"{said}: there is no part {number} of {count}", hint="parts are counted from 1")
    return Shard(number, count)
