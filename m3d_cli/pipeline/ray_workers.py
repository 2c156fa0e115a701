"""A run on a Ray cluster: Ray Data streams the photos through a pool of actors that hold a network each.

Files, journal and exit codes are those of any other run: actors write the files, on a disk that all machines see, and
the process that started the run keeps the journal. Ray starts an actor that dies again and gives it its photos anew.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
import warnings
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3d_cli.errors import DeviceError, M3dError, PhotoError, UsageError
from m3d_cli.pipeline.journal import Outcome
from m3d_cli.pipeline.resume import Task
from m3d_cli.pipeline.runner import MOST_THREADS, Run, Stopped
from m3d_cli.pipeline.worker_pool import MOST_LOSSES, WorkerRecipe

logger = logging.getLogger(__name__)

# Photos that go to an actor at once, and are done again together when it dies.
PHOTOS_A_BLOCK = 8

# An actor works on two blocks at once, so that it has work while the end of one is written.
BLOCKS_AT_ONCE = 2

# How often Ray starts a dead actor again.
MOST_RESTARTS = 3


@dataclass(frozen=True, slots=True)
class RayChoice:
    """Where the cluster is (None: this machine, started for the run) and how many actors work there.

    Without ``actors`` one a GPU of the cluster, or one a machine where it has none or ``on_cpu`` is asked.
    """

    address: str | None = None
    actors: int | None = None
    on_cpu: bool = False


@dataclass(frozen=True, slots=True)
class _Pool:
    """How many actors, and what of the cluster each takes."""

    actors: int
    gpus: int


def run_on_ray(tasks: Iterable[Task], context: Run, recipe: WorkerRecipe, choice: RayChoice) -> Generator[Outcome]:
    """Outcomes in the order of ``tasks``, those that need no work first.

    Raises UsageError without Ray, and DeviceError when no actor can work.
    """
    todo: list[Task] = []
    for task in tasks:
        # A hundred thousand photos are begun at once: their lines reach the disk together.
        outcome = context.begun(task, is_urgent=False)
        if outcome is None:
            todo.append(task)
        else:
            yield outcome
    if todo:
        context.journal.sync()
        yield from _computed(todo, context, recipe, choice)


def _computed(todo: list[Task], context: Run, recipe: WorkerRecipe, choice: RayChoice) -> Generator[Outcome]:
    ray = _import_ray()
    missing = dict(enumerate(todo))
    pool = _connected(ray, choice)
    logger.info("ready: Ray with %d actors on %s", pool.actors, "GPUs" if pool.gpus else "CPUs")
    try:
        for number, answer in _answers(ray, todo, recipe, pool):
            if isinstance(answer, M3dError):
                raise answer
            missing.pop(number)
            context.journal.write(answer)
            yield answer
        for task in missing.values():
            outcome = context.failed(task, _lost(task))
            context.journal.write(outcome)
            yield outcome
    finally:
        context.stop.set()
        ray.shutdown()


def _import_ray() -> Any:
    # Read when ray is imported: no statistics for its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray.data
    except ImportError as error:
        raise UsageError("--engine ray needs Ray", hint="pip install 'm3d-cli[ray]'") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Words about dead actors would go to standard output, between the lines of --json; there is no public switch.
    ray._private.worker._worker_logs_enabled = False
    return ray


def _connected(ray: Any, choice: RayChoice) -> _Pool:
    try:
        ray.init(address=choice.address, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:
        where = choice.address or "this machine"
        raise DeviceError(f"Ray at {where} cannot be used: {error}", hint="see --ray-address") from error
    gpus = 0 if choice.on_cpu else int(ray.cluster_resources().get("GPU", 0))
    return _Pool(choice.actors or gpus or len(ray.nodes()), 1 if gpus else 0)


def _answers(ray: Any, todo: list[Task], recipe: WorkerRecipe, pool: _Pool) -> Iterator[tuple[int, Any]]:
    """Number of a task and its outcome, or the error that ends the run; tasks that no actor survived are left out."""
    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = False
    settings.execution_options.preserve_order = True
    # A block whose actors died one after the other is left out; the rest goes on.
    settings.max_errored_blocks = -1
    settings.print_on_execution_start = False
    rows = [{"number": number, "task": pickle.dumps(task)} for number, task in enumerate(todo)]
    blocks = -(-len(rows) // PHOTOS_A_BLOCK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of how restarts are limited; there is no other way yet
        done = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            RayWorker,
            fn_constructor_kwargs={"recipe": recipe, "folder": Path.cwd()},
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(
                size=min(pool.actors, blocks), max_tasks_in_flight_per_actor=2 * BLOCKS_AT_ONCE
            ),
            num_gpus=pool.gpus,
            num_cpus=1,
            max_concurrency=BLOCKS_AT_ONCE,
            max_restarts=MOST_RESTARTS,
            max_task_retries=MOST_LOSSES - 1,
        )
    for row in done.iter_rows():
        yield int(row["number"]), pickle.loads(row["answer"])  # noqa: S301 - of our own actors


class RayWorker:
    """What Ray makes an actor of: the network is loaded once, blocks of photos become blocks of outcomes."""

    def __init__(self, recipe: WorkerRecipe, folder: Path) -> None:
        # Photos are named as the user named them, seen from where the run was started.
        os.chdir(folder)
        self._context = recipe.context(threading.Event())
        self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="m3d-photo")

    def __call__(self, block: dict[str, Any]) -> dict[str, list[Any]]:
        tasks = [pickle.loads(bytes(task)) for task in block["task"]]  # noqa: S301 - of our own run
        answers = list(self._pool.map(self._answer, tasks))
        return {"number": list(block["number"]), "answer": [pickle.dumps(answer) for answer in answers]}

    def _answer(self, task: Task) -> Outcome | M3dError:
        try:
            return self._context.outcome_of(task)
        except Stopped:
            return DeviceError("the run was stopped")
        except M3dError as error:
            return error


def _lost(task: Task) -> PhotoError:
    return PhotoError(
        f"{task.job.photo.name}: {MOST_LOSSES} Ray actors died under it or beside it",
        hint="run again; if it fails again, try it alone with --device cpu",
        code="WORKER_LOST",
    )
