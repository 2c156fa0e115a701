"""Which workers compute a run: threads, decoding processes, a process per device, or Ray. Chosen here only."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from m3d_cli.errors import UsageError
from m3d_cli.inference.photo import EngineOptions
from m3d_cli.pipeline.ray_workers import RayCluster, ray_workers
from m3d_cli.pipeline.run_context import RunContext
from m3d_cli.pipeline.runner import ThreadWorker, Worker
from m3d_cli.pipeline.worker_processes import ProcessWorker, WorkerRecipe, decode_workers

AUTO = "auto"
LOCAL = "local"
ENGINES = (LOCAL, "ray")

# From so many photos on the start of decoding processes is repaid.
MANY_PHOTOS = 500


@dataclass(frozen=True, slots=True)
class Workers:
    """Devices, which share the photos, precision, batch size and backend as given; torch is not loaded yet."""

    devices: tuple[str, ...] = (AUTO,)
    precision: str = AUTO
    batch_size: str | None = None
    backend: str = AUTO
    ray: RayCluster | None = None

    def __post_init__(self) -> None:
        _photos_per_batch(self.batch_size)

    @property
    def options(self) -> EngineOptions:
        """Options of the engine on the first device."""
        return self.options_on(self.devices[0])

    def options_on(self, device: str) -> EngineOptions:
        """Options of the engine on one of the devices."""
        return EngineOptions(device, self.precision, _photos_per_batch(self.batch_size), self.backend)

    def pool(self, context: RunContext, recipe: WorkerRecipe) -> AbstractContextManager[Sequence[Worker]]:
        """The workers of a run."""
        if self.ray is not None:
            return ray_workers(recipe, self.ray)
        if len(self.devices) > 1:
            return _device_workers(self, recipe)
        if recipe.photos >= MANY_PHOTOS and context.engine.get().helpers:
            return decode_workers(context.engine.get(), recipe)
        return threads(context)


@contextmanager
def _device_workers(workers: Workers, recipe: WorkerRecipe) -> Iterator[Sequence[Worker]]:
    yield [
        ProcessWorker(device, dataclasses.replace(recipe, options=workers.options_on(device)))
        for device in workers.devices
    ]


@contextmanager
def threads(context: RunContext) -> Iterator[Sequence[Worker]]:
    """Threads of this process as the only worker."""
    yield [ThreadWorker(context)]


def ray_cluster(engine: str, address: str | None, actors: int | None, devices: Sequence[str]) -> RayCluster | None:
    """The cluster that ``--engine ray`` and its options name; None for ``local``. Raises UsageError."""
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine} is unknown", hint=f"one of {', '.join(ENGINES)}")
    if engine == LOCAL:
        if address is not None or actors is not None:
            raise UsageError("--ray-address and --ray-actors go with --engine ray", hint="add it")
        return None
    if len(devices) > 1:
        raise UsageError("--device lists devices of one machine, Ray finds those of all", hint="--ray-actors N")
    return RayCluster(address, actors, on_cpu=devices[0] == "cpu")


def _photos_per_batch(text: str | None) -> int | None:
    """``--batch-size`` for the engine: 0 for ``auto``; raises UsageError."""
    if text is None:
        return None
    if text == AUTO:
        return 0
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise UsageError(f"--batch-size {text} is neither a number from 1 on nor {AUTO}", hint="for example 8")
    return int(text)
