"""Groups of images rendered by worker processes, in the order of the groups."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import current_process, get_context

import cv2

from m3d_cli.datasets.sample import Sample

_AHEAD = 3  # groups a worker may be ahead of the reader

RenderGroup = Callable[[list[int]], list[Sample]]


def render_groups(render: RenderGroup, groups: Iterable[list[int]], workers: int) -> Iterator[Sample]:
    """What ``render`` makes of each group of seeds, in order; a few groups per worker wait at most.

    ``render`` is sent to each worker process once, so it may carry a large library; it must be picklable.
    """
    if workers <= 1:
        for group in groups:
            yield from render(group)
        return
    # Spawned, not forked: a parent with threads (torch, open3d) may hold locks that a fork would copy.
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (render,)) as pool:
        waiting: deque[Future[list[Sample]]] = deque()
        for group in groups:
            waiting.append(pool.submit(_render_in_worker, group))
            if len(waiting) >= workers * _AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


_render: list[RenderGroup] = []


def _start_worker(render: RenderGroup) -> None:
    _keep_to_one_core()
    cv2.setNumThreads(1)
    _render[:] = [render]


def _keep_to_one_core() -> None:
    """Pin this worker to a core of its own, where the system can.

    Embree's thread pool sizes itself by the cores a process may use: unpinned, sixteen workers start 256 threads that
    get in each other's way and together render no faster than three.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    # "SpawnProcess-3", and "SpawnProcess-1:3" where the pool was started by a worker of somebody else's.
    word = re.split("[-:]", current_process().name)[-1]
    number = int(word) if word.isdecimal() else 0
    os.sched_setaffinity(0, {cores[number % len(cores)]})


def _render_in_worker(group: list[int]) -> list[Sample]:
    return _render[0](group)
