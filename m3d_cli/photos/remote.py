"""Photos and folders behind a URL (``s3://``, ``gs://``, ``https://``, ``file://``), through fsspec and its plugins.

A remote photo is fetched when its work begins, into a folder of its own, and removed when it is done.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from m3d_cli.errors import M3dError, PhotoError, UsageError

SCHEME = "://"

# Stores where a file appears whole when its upload ends; elsewhere it is uploaded under another name first.
ATOMIC_STORES = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "az", "memory"))


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file behind ``url``; ``state`` changes when its content does (size and date or tag of the store).

    ``local`` is where its copy goes while a run, in whichever of its processes, works on it.
    """

    url: str
    state: str
    local: Path


def is_url(text: str) -> bool:
    """Whether ``text`` names something behind a URL rather than a path."""
    scheme, sign, rest = text.partition(SCHEME)
    return bool(sign and rest) and scheme.isascii() and scheme.replace("+", "").isalnum()


def joined(url: str, name: str) -> str:
    """The URL of ``name`` below a folder's."""
    return f"{url.rstrip('/')}/{name}"


def open_store(url: str) -> tuple[Any, str]:
    """The fsspec file system of ``url`` and the path there; raises UsageError where a package for it is missing."""
    try:
        import fsspec
    except ImportError as error:
        raise UsageError(f"{url}: URLs need fsspec", hint="pip install 'm3d-cli[remote]'") from error
    try:
        store, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UsageError(f"{url}: {error}", hint="pip install 'm3d-cli[remote]', or what it names") from error
    except Exception as error:
        raise UsageError(f"{url}: {_reason(error)}", hint="check the URL") from error
    return store, str(path)


def find_remote(url: str, *, recursive: bool) -> list[tuple[RemoteFile, str]]:
    """Files that ``url`` names, a file, a glob or a folder, each with its path relative to the folder.

    Raises UsageError for a URL that cannot be looked at, FileNotFoundError where nothing is.
    """
    store, path = open_store(url)
    try:
        found, base = _listed(store, path, recursive=recursive)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise UsageError(f"{url}: cannot be listed: {_reason(error)}", hint="check the URL and your rights") from error
    return [(_remote_file(store, name, facts), _below(name, base)) for name, facts in found]


@contextmanager
def fetched(remote: RemoteFile | None) -> Iterator[None]:
    """Have the local copy of a remote photo in the block; nothing for a local one. Raises PhotoError."""
    if remote is None:
        yield
        return
    folder = remote.local.parent
    try:
        folder.mkdir(exist_ok=True)
        _download(remote)
        yield
    finally:
        with suppress(OSError):
            remote.local.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()


def told_as(error: M3dError, remote: RemoteFile | None) -> M3dError:
    """The error with the URL in place of the local copy, which is gone when somebody reads it."""
    if remote is not None:
        error.message = error.message.replace(str(remote.local), remote.url)
    return error


def _download(remote: RemoteFile) -> None:
    store, path = open_store(remote.url)
    try:
        store.get_file(path, str(remote.local))
    except Exception as error:
        raise PhotoError(
            f"{remote.url}: cannot be fetched: {_reason(error)}", hint="check the network and your rights"
        ) from error


def _listed(store: Any, path: str, *, recursive: bool) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Names with their facts, and the folder that they are told relative to."""
    if any(character in path for character in "*?["):
        found = store.glob(path, detail=True)
        fixed = path[: min(path.index(c) for c in "*?[" if c in path)]
        return [pair for pair in found.items() if pair[1]["type"] == "file"], fixed.rpartition("/")[0]
    # A web server says of any address that it is a file; a name with an ending is taken for one.
    facts = store.info(path)
    if facts["type"] != "directory":
        return [(path, facts)], path.rpartition("/")[0]
    found = store.find(path, maxdepth=None if recursive else 1, detail=True)
    return list(found.items()), path


def _remote_file(store: Any, name: str, facts: dict[str, Any]) -> RemoteFile:
    keys = ("size", "ETag", "etag", "md5Hash", "LastModified", "mtime", "updated")
    url = str(store.unstrip_protocol(name))
    return RemoteFile(url, repr([(key, str(facts[key])) for key in keys if facts.get(key)]), _copy_of(url))


def _copy_of(url: str) -> Path:
    digest = hashlib.sha256(f"{os.getpid()} {url}".encode("utf-8", "surrogateescape")).hexdigest()
    return Path(tempfile.gettempdir()) / f"m3d-{digest[:24]}" / PurePosixPath(url.partition("?")[0]).name


def _below(name: str, base: str) -> str:
    return name[len(base) :].lstrip("/") if name.startswith(base) else name.rpartition("/")[2]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
