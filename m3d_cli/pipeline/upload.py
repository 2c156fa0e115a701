"""Results that go to a URL: each photo's files are made here, uploaded, and removed here; then the photo is done."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3d_cli.atomic import PART
from m3d_cli.errors import CollisionError, OutputError, UsageError
from m3d_cli.models.store import cache_folder
from m3d_cli.photos.remote import ATOMIC_STORES, joined, open_store
from m3d_cli.pipeline.journal import JOURNALS
from m3d_cli.pipeline.plan import Job


@dataclass(frozen=True, slots=True)
class RemoteOut:
    """The folder behind ``url``, and the local one that stands for it while a run goes on: plain values."""

    url: str
    local: Path

    @classmethod
    def at(cls, url: str) -> RemoteOut:
        """The local folder follows from the URL, so that a run that was killed goes on with its journal."""
        digest = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]
        return cls(url.rstrip("/"), cache_folder() / "outputs" / digest)

    def place(self, output: Path) -> str:
        """The URL that a local file stands for."""
        return joined(self.url, os.path.relpath(output, self.local).replace(os.sep, "/"))

    def check(self, jobs: Iterable[Job]) -> None:
        """Raise CollisionError where a photo would get its depth beside it, and the next run take that for a photo."""
        for job in jobs:
            source = job.photo.source
            folder = joined(self.url, job.name.rpartition("/")[0]).rstrip("/")
            if source is not None and source.url.rpartition("/")[0] == folder:
                raise CollisionError(
                    f"{source.url} would get its depth beside it", hint="choose an --out other than the photos' folder"
                )

    def begin(self) -> dict[str, int]:
        """Bring the journals of earlier runs here; returns the files there with their bytes. Raises UsageError."""
        store, root = open_store(self.url)
        try:
            self.local.mkdir(parents=True, exist_ok=True)
            store.invalidate_cache()
            found = store.find(root, detail=True) if store.exists(root) else {}
            sizes = {name[len(root) :].lstrip("/"): int(facts.get("size") or 0) for name, facts in found.items()}
            for name, size in sizes.items():
                if Path(name).match(JOURNALS) and "/" not in name:
                    self._pull_journal(store, joined(root, name), self.local / name, size)
        except Exception as error:
            raise UsageError(
                f"{self.url}: cannot be used: {error}", hint="check the URL and your rights", code="NO_JOURNAL"
            ) from error
        return sizes

    def deliver(self, outputs: Sequence[Path]) -> None:
        """Upload a photo's files, the sidecar last, and remove them here. Raises OutputError."""
        self.upload(outputs)
        for path in outputs:
            with suppress(OSError):
                path.unlink()

    def upload(self, files: Iterable[Path]) -> None:
        """Copy local files to their places there; each appears whole or not at all."""
        store, root = open_store(self.url)
        for path in files:
            place = self.place(path)
            try:
                _put(store, path, root + place[len(self.url) :])
            except Exception as error:
                raise OutputError(
                    f"{place}: cannot be uploaded: {error}", hint="check space, network and rights"
                ) from error

    def upload_journals(self) -> None:
        """Copy the journals there, for runs on other machines."""
        self.upload(sorted(self.local.glob(JOURNALS)))

    def replace_journals(self) -> None:
        """Make the journals there those that are here, when one was made of many."""
        self.upload_journals()
        store, root = open_store(self.url)
        for name in store.glob(joined(root, JOURNALS)):
            if not (self.local / str(name).rpartition("/")[2]).exists():
                store.rm_file(name)

    def _pull_journal(self, store: Any, path: str, local: Path, size: int) -> None:
        # A journal only grows: the longer one is the later one.
        if not local.exists() or local.stat().st_size < size:
            store.get_file(path, str(local))


def _put(store: Any, path: Path, target: str) -> None:
    store.makedirs(target.rpartition("/")[0], exist_ok=True)
    protocols = {store.protocol} if isinstance(store.protocol, str) else set(store.protocol)
    if protocols & ATOMIC_STORES:
        store.put_file(str(path), target)
        return
    store.put_file(str(path), target + PART)
    store.mv(target + PART, target)
