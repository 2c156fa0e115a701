"""A run over photos, checked before any work: what to write, by which workers, and into which journal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from m3d_cli.errors import UsageError
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.photos.remote import is_url
from m3d_cli.pipeline.journal import Journal, Outcome, journal_of
from m3d_cli.pipeline.plan import Job, plan
from m3d_cli.pipeline.process_photo import LoneFile, lone_file, photo_work
from m3d_cli.pipeline.resume import Shared, Task, share_focal, tasks
from m3d_cli.pipeline.run_context import RunContext
from m3d_cli.pipeline.runner import run
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.shard import Shard, parse_shard
from m3d_cli.pipeline.shared_engine import SharedEngine
from m3d_cli.pipeline.upload import RemoteOut
from m3d_cli.pipeline.worker_processes import WorkerRecipe
from m3d_cli.pipeline.workers import Workers

# What can go into a pipe.
PIPED_FORMATS = ("png", "ply", "pcd", "xyz", "glb")


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The ``jobs`` of a run, those of ``shard`` where it is a part of ``planned`` photos, and how they are done.

    ``folder`` holds outputs and journal; ``remote`` is where they go when the output is a URL.
    """

    jobs: Sequence[Job]
    settings: Settings
    workers: Workers
    folder: Path
    same_camera: bool = False
    overwrite: bool = False
    remote: RemoteOut | None = None
    shard: Shard | None = None
    planned: int = 0

    @classmethod
    def of(
        cls,
        photos: Sequence[PhotoFile],
        out: str,
        settings: Settings,
        workers: Workers,
        *,
        keep_extension: bool = False,
        same_camera: bool = False,
        overwrite: bool = False,
        shard: str | None = None,
    ) -> RunPlan:
        """The plan for results in ``out``, a folder or URL; raises CollisionError where two photos share a name."""
        if same_camera and settings.camera.projection is not None:
            raise UsageError("--same-camera is of focal lengths, which photos that are not flat do not have")
        remote = RemoteOut.at(out) if is_url(out) else None
        folder = Path(out) if remote is None else remote.local
        jobs = plan(photos, folder, settings.formats, keep_extension)
        made = cls(jobs, settings, workers, folder, same_camera, overwrite, remote)
        return made if shard is None else made._part(shard)

    @property
    def waits_for(self) -> str:
        """What the first photo waits for, as the progress display says it."""
        return self.settings.waits_for

    def _part(self, text: str) -> RunPlan:
        if self.same_camera:
            raise UsageError("--same-camera looks at all photos, --shard at some", hint="give --focal or --intrinsics")
        shard = parse_shard(text)
        return replace(self, jobs=shard.of(self.jobs), shard=shard, planned=len(self.jobs))

    @property
    def whole(self) -> int:
        """Photos of all parts: each part is computed as the whole would be, to the last bit."""
        return self.planned or len(self.jobs)

    def check_remote(self, *, dry_run: bool) -> None:
        """Raise UsageError for what would need all remote photos here at once."""
        if self.remote is not None:
            self.remote.check(self.jobs)
        if not (self.same_camera or dry_run):
            return
        if self.remote is not None or any(job.photo.source is not None for job in self.jobs):
            flag = "--dry-run" if dry_run else "--same-camera"
            raise UsageError(f"{flag} reads headers, which URLs do not give alone", hint="fetch the photos first")

    def shared_focal(self) -> Sequence[Shared] | None:
        """What photos get from the others of their camera, where they share one."""
        return share_focal([job.photo for job in self.jobs], self.settings.camera) if self.same_camera else None

    @contextmanager
    def started(self, late: Callable[[Outcome], object]) -> Iterator[Iterator[Outcome]]:
        """Outcomes in the order of the jobs; what ends after the reader left goes to ``late``.

        Raises the M3dError that ends the run. Photos that earlier runs did are skipped.
        """
        sizes = self.remote.begin() if self.remote is not None else None
        try:
            with Journal(self.folder, self.shard, sizes) as journal, closing(self._run(journal, late)) as outcomes:
                yield outcomes
        finally:
            if self.remote is not None:
                self.remote.upload_journal(journal_of(self.folder, self.shard))

    def _run(self, journal: Journal, late: Callable[[Outcome], object]) -> Generator[Outcome]:
        todo = tasks(self.jobs, self.settings, journal, self.shared_focal(), overwrite=self.overwrite)
        stop = threading.Event()
        recipe = self._recipe()
        engine = SharedEngine(recipe.engine)
        work = photo_work(self.settings, engine, journal, stop, self.remote)
        context = RunContext(work, journal, engine, self.overwrite, stop, late, self.remote)
        return run(todo, context, lambda: self.workers.pool(context, recipe))

    def _recipe(self) -> WorkerRecipe:
        return WorkerRecipe(self.settings, self.workers.options, self.whole, self.folder, self.remote)

    def lone_file(self) -> LoneFile:
        """The one file of one photo, for a pipe; raises UsageError for more."""
        if len(self.jobs) != 1:
            raise UsageError(f"--out - takes one photo, not {len(self.jobs)}", hint="give a folder to --out")
        if len(self.settings.formats) != 1 or self.settings.formats[0] not in PIPED_FORMATS:
            raise UsageError("--out - writes one file and nothing else to stdout", hint="leave --format and --json out")
        shared = self.shared_focal()
        task = Task(self.jobs[0], "", shared[0] if shared is not None else None)
        with closing(SharedEngine(self._recipe().engine)) as engine:
            return lone_file(task, self.settings, engine)
