"""Actors of a Ray cluster as workers: they write the files, on a disk that all machines see.

The process that started the run keeps the journal, starts a dead actor again and gives out its photos anew.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from m3d_cli.errors import DeviceError, M3dError, UsageError
from m3d_cli.extras import install_hint
from m3d_cli.pipeline.journal import Outcome
from m3d_cli.pipeline.resume import Task
from m3d_cli.pipeline.run_context import Stopped
from m3d_cli.pipeline.runner import WorkerLost, lost_device
from m3d_cli.pipeline.worker_processes import WorkerRecipe

logger = logging.getLogger(__name__)

# Photos that an actor has at once: enough that its network has work while others are decoded and written.
PHOTOS_PER_ACTOR = 8

# How often one actor is started in a run.
MOST_STARTS = 4


@dataclass(frozen=True, slots=True)
class RayCluster:
    """Where the cluster is (None: this machine, started for the run) and how many actors work there.

    Without ``actors`` one per GPU of the cluster, or one per machine where it has none or ``on_cpu`` is set.
    """

    address: str | None = None
    actors: int | None = None
    on_cpu: bool = False


class RayWorker:
    """One actor with a network of its own, replaced by a new one when it died."""

    keeps_journal = False

    def __init__(self, ray: Any, name: str, start: Callable[[], Any]) -> None:
        self.name = name
        self._ray = ray
        self._start = start
        self._guard = threading.Lock()
        self._actor: Any = None
        self._starts = 0

    @property
    def in_flight(self) -> int:
        """So many photos keep the actor busy."""
        return PHOTOS_PER_ACTOR

    def submit(self, task: Task) -> Future[Outcome]:
        """Send the photo to the actor, a new one where there is none alive."""
        future: Future[Outcome] = Future()
        future.set_running_or_notify_cancel()
        with self._guard:
            if self._actor is None:
                if self._starts == MOST_STARTS:
                    future.set_exception(lost_device(self.name, self._starts))
                    return future
                self._starts += 1
                self._actor = self._start()
            actor = self._actor
        reply = actor.process.remote(pickle.dumps(task)).future()
        reply.add_done_callback(lambda done: self._settle(future, done, actor))
        return future

    def close(self) -> None:
        """Let the actor finish what it is writing."""
        if self._actor is None:
            return
        try:
            self._ray.get(self._actor.finish.remote())
        except self._ray.exceptions.RayActorError as error:
            logger.debug("%s: %s", self.name, error)

    def _settle(self, future: Future[Outcome], done: Future[bytes], actor: Any) -> None:
        error = done.exception()
        if isinstance(error, self._ray.exceptions.RayActorError):
            with self._guard:
                if self._actor is actor:
                    self._actor = None
            future.set_exception(WorkerLost("its actor died"))
        elif error is not None:
            future.set_exception(DeviceError(f"{self.name}: {error}", hint="see m3d doctor"))
        else:
            answer = pickle.loads(done.result())  # noqa: S301 - of our own actor
            (future.set_exception if isinstance(answer, Exception) else future.set_result)(answer)


class RayActor:
    """What runs on the cluster: the network is loaded once, threads process the photos."""

    def __init__(self, recipe: WorkerRecipe, folder: Path) -> None:
        # Photos are named as the user named them, relative to where the run was started.
        os.chdir(folder)
        self._stop = threading.Event()
        self._context = recipe.context(self._stop)

    def process(self, task: bytes) -> bytes:
        """The pickled outcome of a pickled task, or the error that ends this worker."""
        return pickle.dumps(self._answer(pickle.loads(task)))  # noqa: S301 - of our own run

    def finish(self) -> None:
        """Start nothing more; returns when nothing is being written."""
        self._stop.set()

    def _answer(self, task: Task) -> Outcome | Stopped | M3dError:
        try:
            return self._context.outcome_of(task)
        except (Stopped, M3dError) as error:
            return error


@contextmanager
def ray_workers(recipe: WorkerRecipe, cluster: RayCluster) -> Iterator[Sequence[RayWorker]]:
    """The actors of a run; raises UsageError without Ray, DeviceError where there is no cluster."""
    ray = _import_ray()
    try:
        ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:
        where = cluster.address or "this machine"
        raise DeviceError(f"Ray at {where} cannot be used: {error}", hint="see --ray-address") from error
    try:
        gpus = 0 if cluster.on_cpu else int(ray.cluster_resources().get("GPU", 0))
        count = cluster.actors or gpus or len(ray.nodes())
        kind = ray.remote(num_gpus=1 if gpus else 0, num_cpus=1, max_concurrency=PHOTOS_PER_ACTOR + 1)(RayActor)
        start = partial(kind.remote, recipe, Path.cwd())
        logger.info("ready: Ray with %d actors on %s", count, "GPUs" if gpus else "CPUs")
        yield [RayWorker(ray, f"actor {number}", start) for number in range(1, count + 1)]
    finally:
        ray.shutdown()


def _import_ray() -> Any:
    # Read when ray is imported: no usage statistics.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError("--engine ray needs Ray", hint=install_hint("ray")) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Messages about dead actors would go to standard output, between the lines of --json; there is no public switch.
    ray._private.worker._worker_logs_enabled = False
    return ray
