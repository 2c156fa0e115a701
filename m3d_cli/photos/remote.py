"""Photos and folders behind a URL (``s3://``, ``gs://``, ``https://``, ``file://``), through fsspec and its plugins.

A remote photo is fetched when its work begins, into a private folder, and removed when it is done.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from m3d_cli.errors import M3dError, PhotoError, UsageError
from m3d_cli.extras import install_hint
from m3d_cli.private_folder import private_folder

SCHEME = "://"

GIGABYTE = 1_000_000_000

# Stores where a file appears whole when its upload ends; elsewhere it is uploaded under another name first.
_WEB = frozenset(("http", "https"))
# What a web server answers where nothing is.
_ABSENT = (404, 410)
ATOMIC_STORES = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "az", "memory"))


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file behind ``url``; ``state`` changes when its content does (size and date or tag of the store)."""

    url: str
    state: str = ""

    @property
    def name(self) -> str:
        """The file name of its copies."""
        return PurePosixPath(self.url.partition("?")[0]).name or "photo"

    @property
    def nowhere(self) -> Path:
        """A path with its name at which no file can be: it stands for the photo until it is `fetched`."""
        return Path(os.devnull, self.name)


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
        raise UsageError(f"{url}: URLs need fsspec", hint=install_hint("remote")) from error
    try:
        store, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UsageError(f"{url}: {error}", hint=f"{install_hint('remote')}, or what it names") from error
    except Exception as error:
        raise UsageError(f"{url}: {_reason(error, url)}", hint="check the URL") from error
    return store, str(path)


def protocols(store: Any) -> set[str]:
    """The schemes of URLs that an fsspec file system serves."""
    return {store.protocol} if isinstance(store.protocol, str) else set(store.protocol)


def find_remote(url: str, *, recursive: bool) -> list[tuple[RemoteFile, str]]:
    """Files that ``url`` names, a file, a glob or a folder, each with its path relative to the folder.

    Raises UsageError for a URL that cannot be looked at, FileNotFoundError where nothing is.
    """
    store, path = open_store(url)
    try:
        found, base = _listed(store, path, recursive=recursive)
    except FileNotFoundError as error:
        status = getattr(error.__cause__, "status", None)
        is_answer = isinstance(status, int) and status not in _ABSENT
        why = f"the server answers with status {status}" if is_answer else "there is no such file"
        raise FileNotFoundError(why) from error
    except Exception as error:
        raise UsageError(
            f"{url}: cannot be listed: {_reason(error, url)}", hint="check the URL and your permissions"
        ) from error
    return [(_remote_file(store, name, facts), _below(name, base)) for name, facts in found]


@contextmanager
def fetched(remote: RemoteFile, most_bytes: int) -> Iterator[Path]:
    """A local copy of a remote photo, removed when the block ends; errors from the block name the URL instead of it.

    Raises PhotoError where it cannot be fetched or has more than ``most_bytes``.
    """
    with _folder(remote) as folder:
        copy = folder / remote.name
        _download(remote, copy, most_bytes)
        try:
            yield copy
        except M3dError as error:
            error.message = error.message.replace(str(copy), remote.url)
            raise


@contextmanager
def _folder(remote: RemoteFile) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(private_folder())
        except OSError as error:
            raise PhotoError(
                f"{remote.url}: no temporary folder for its copy ({error.strerror})", hint="TMPDIR names another"
            ) from error
        yield folder


def _download(remote: RemoteFile, copy: Path, most_bytes: int) -> None:
    store, path = open_store(remote.url)
    try:
        if "file" in protocols(store):
            _check_file(remote, path, most_bytes)
        store.get_file(path, str(copy), callback=_limit(remote, most_bytes))
    except PhotoError:
        raise
    except FileNotFoundError as error:
        raise PhotoError(f"{remote.url}: there is no such file") from error
    except Exception as error:
        raise PhotoError(
            f"{remote.url}: cannot be fetched: {_reason(error, remote.url)}",
            hint="check the network and your permissions",
        ) from error


def _check_file(remote: RemoteFile, path: str, most_bytes: int) -> None:
    """Raise PhotoError for what is no regular file, or too large: local files are copied in one go."""
    status = os.stat(path)  # noqa: PTH116 - as the store names it
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError(f"{remote.url}: not a regular file")
    if status.st_size > most_bytes:
        raise _too_large(remote, most_bytes)


def _limit(remote: RemoteFile, most_bytes: int) -> Any:
    """What a store calls with the size of a file, where it knows it, and with the bytes that have come."""
    from fsspec.callbacks import Callback

    def check(size: int | None, value: int, **_: object) -> None:
        if max(size or 0, value) > most_bytes:
            raise _too_large(remote, most_bytes)

    return Callback(hooks={"limit": check})


def _too_large(remote: RemoteFile, most_bytes: int) -> PhotoError:
    return PhotoError(
        f"{remote.url}: larger than the {most_bytes / GIGABYTE:g} GB that are fetched",
        hint="--max-download allows more",
        code="TOO_LARGE",
    )


def _listed(store: Any, path: str, *, recursive: bool) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Names with their facts, and the folder that they are reported relative to."""
    # On the web a question mark begins a query.
    signs = "*[" if protocols(store) & _WEB else "*?["
    if any(character in path.partition("?")[0] for character in signs):
        found = store.glob(path, detail=True)
        fixed = path[: min(path.index(c) for c in signs if c in path)]
        return [pair for pair in found.items() if pair[1]["type"] == "file"], fixed.rpartition("/")[0]
    # A web server says of any address that it is a file; a name with an ending is taken for one.
    facts = store.info(path)
    if facts["type"] != "directory":
        return [(path, facts)], path.partition("?")[0].rpartition("/")[0]
    found = store.find(path, maxdepth=None if recursive else 1, detail=True)
    return list(found.items()), path


def _remote_file(store: Any, name: str, facts: dict[str, Any]) -> RemoteFile:
    keys = ("size", "ETag", "etag", "md5Hash", "LastModified", "mtime", "updated")
    url = str(store.unstrip_protocol(name))
    return RemoteFile(url, repr([(key, str(facts[key])) for key in keys if facts.get(key)]))


def _below(name: str, base: str) -> str:
    if SCHEME in name:
        name = name.partition("?")[0]
    below = name[len(base) :].lstrip("/") if name.startswith(base) else name.rpartition("/")[2]
    return below or "photo"


def _reason(error: Exception, url: str) -> str:
    """Why, in words that do not name the URL again."""
    words = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    return words if words and url not in words else type(error).__name__
