"""What two runs are compared by."""

from __future__ import annotations

import json

import pytest

from m3d_cli.pipeline.journal import JOURNAL_NAME

# What differs from run to run.
CHANGING = ("at", "seq", "seconds", "mtimes_ns")


@pytest.fixture
def contents():
    """A function: the files of a run's folder by name, but for its journals."""
    return lambda out: {
        path.name: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.suffix != ".jsonl"
    }


@pytest.fixture
def facts():
    """A function: how the photos of a run ended, in no order and without what differs from run to run."""

    def read(out):
        lines = [json.loads(line) for line in (out / JOURNAL_NAME).read_text().splitlines()]
        ended = [line for line in lines if line["status"] != "started"]
        return sorted(({k: v for k, v in line.items() if k not in CHANGING} for line in ended), key=str)

    return read
