"""Workers that render keep to cores of their own."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from m3d_cli.synthesis import render_pool


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not pin processes")
@pytest.mark.parametrize(
    ("name", "core"), [("SpawnProcess-3", 5), ("ForkServerProcess-1:2", 4), ("MainProcess", 4), ("my-own", 4)]
)
def test_a_worker_is_pinned_by_the_number_in_its_name(monkeypatch: pytest.MonkeyPatch, name: str, core: int) -> None:
    pinned: list[set[int]] = []
    monkeypatch.setattr(render_pool, "current_process", lambda: SimpleNamespace(name=name))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: pinned.append(cores))
    render_pool._keep_to_one_core()
    assert pinned == [{core}]
