"""Results that go to a URL: each photo's files are made here, uploaded, and removed here; then the photo is done."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3d_cli.atomic import PART, write_bytes
from m3d_cli.errors import CollisionError, OutputError, UsageError
from m3d_cli.models.store import cache_folder
from m3d_cli.photos.remote import ATOMIC_STORES, joined, open_store, protocols
from m3d_cli.pipeline.index import JOURNALS
from m3d_cli.pipeline.locks import JOURNAL_FLAGS, folder_lock, lock, open_journal
from m3d_cli.pipeline.plan import Job


@dataclass(frozen=True, slots=True)
class RemoteOut:
    """The folder behind ``url``, and the local one that stands for it while a run goes on: plain values."""

    url: str
    local: Path

    @classmethod
    def at(cls, url: str) -> RemoteOut:
        """The local folder follows from the URL, so that a run that was killed continues with its journal."""
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
            for name in filter(_is_journal, sizes):
                # The run that writes it here found what is there.
                with suppress(UsageError):
                    _unite(store.cat_file(joined(root, name)), self.local / name)
        except Exception as error:
            raise UsageError(
                f"{self.url}: cannot be used: {error}", hint="check the URL and your permissions", code="NO_JOURNAL"
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
                    f"{place}: cannot be uploaded: {error}", hint="check space, network and permissions"
                ) from error

    def upload_journal(self, journal: Path) -> None:
        """Copy a run's journal there, for runs on other machines, with the lines that are only there.

        Journals of other parts are left alone: those here may be older than those there. Raises OutputError.
        """
        if not journal.exists():
            return
        store, root = open_store(self.url)
        place = joined(root, journal.name)
        try:
            store.invalidate_cache()
            if store.exists(place):
                _unite(store.cat_file(place), journal)
        except UsageError:
            return  # another run writes it here already, and uploads it at its end
        except Exception as error:
            raise OutputError(f"{joined(self.url, journal.name)}: cannot be read: {error}") from error
        self.upload((journal,))

    def replace_journals(self, merged: Path, seen: Mapping[str, int]) -> None:
        """Make the journals ``seen`` there the one that was ``merged`` here of them. Raises OutputError.

        One that has grown since, or came later, stays beside it.
        """
        self.upload((merged,))
        store, root = open_store(self.url)
        store.invalidate_cache()
        for name in filter(_is_journal, seen):
            place = joined(root, name)
            if name != merged.name and store.exists(place) and store.info(place)["size"] == seen[name]:
                store.rm_file(place)


def _is_journal(name: str) -> bool:
    return "/" not in name and Path(name).match(JOURNALS)


def _unite(there: bytes, journal: Path) -> None:
    """Give the local journal all lines that it has there or here: which of two counts, their times say.

    Raises UsageError where a run is writing it.
    """
    with folder_lock(journal.parent), os.fdopen(open_journal(journal, JOURNAL_FLAGS), "a") as file:
        lock(file, journal.parent)
        here = journal.read_bytes()
        if here.startswith(there):
            return
        known = set(there.splitlines())
        added = [line for line in here.splitlines() if line not in known]
        ending = b"" if there.endswith(b"\n") else b"\n"
        write_bytes(journal, there, ending, *(line + b"\n" for line in added))


def _put(store: Any, path: Path, target: str) -> None:
    store.makedirs(target.rpartition("/")[0], exist_ok=True)
    if protocols(store) & ATOMIC_STORES:
        store.put_file(str(path), target)
        return
    store.put_file(str(path), target + PART)
    store.mv(target + PART, target)
