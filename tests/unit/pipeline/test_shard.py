"""Parts of a run: who gets which photo."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from m3d_cli.errors import UsageError
from m3d_cli.pipeline.shard import Shard, parse_shard

PHOTOS = [PurePosixPath(f"day {index % 7}/IMG_{index}.jpg") for index in range(3000)]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_photo_is_in_exactly_one_part(count: int) -> None:
    held = [sum(Shard(number, count).holds(photo) for number in range(1, count + 1)) for photo in PHOTOS]
    assert set(held) == {1}


def test_parts_are_about_equal() -> None:
    sizes = [sum(Shard(number, 5).holds(photo) for photo in PHOTOS) for number in range(1, 6)]
    assert min(sizes) > 500
    assert max(sizes) < 700


def test_a_photos_part_does_not_change_from_one_version_to_the_next() -> None:
    names = ("a.jpg", "b.jpg", "sub/c.png", "ü ñ.heic")
    parts = [next(n for n in (1, 2, 3) if Shard(n, 3).holds(PurePosixPath(name))) for name in names]
    assert parts == [2, 1, 1, 2]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_ARRAY_TASK_ID": "12", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "10"}, Shard(3, 4)),
        ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "4"}, Shard(1, 4)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, Shard(2, 2)),
        ({"RANK": "0", "WORLD_SIZE": "8"}, Shard(1, 8)),
    ],
)
def test_auto_asks_the_scheduler(environment: dict[str, str], expected: Shard) -> None:
    assert parse_shard("auto", environment) == expected


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "-1/2", "1/0", "1/2/3", "²/3"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_shard(text)


@pytest.mark.parametrize("environment", [{}, {"RANK": "1"}, {"RANK": "x", "WORLD_SIZE": "2"}])
def test_auto_without_a_scheduler_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="I/N"):
        parse_shard("auto", environment)
