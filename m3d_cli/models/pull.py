"""Published checkpoints from the Hugging Face hub into the folder of installed weights.

The client of the hub knows addresses, mirrors (HF_ENDPOINT), proxies and tokens, and asks for the rest of a file after
a cut. The part file is ours, under one name, so that a download broken off by anything continues where it stopped.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from m3d_cli.atomic import part_of
from m3d_cli.errors import M3dError, WeightsError
from m3d_cli.models.install import check_published, checkpoint_name, place
from m3d_cli.models.registry import BUNDLED, PublishedFile, published_file
from m3d_cli.models.store import (
    Installed,
    find_installed,
    leftovers,
    require_space,
    sha256_of,
    size_of,
    sweep,
    writing,
)
from m3d_cli.reporter import Reporter
from m3d_cli.version import __version__

MEGABYTE = 1e6
# A connection that breaks after it brought something is tried again; one that brings nothing ends the pull.
PAUSE_SECONDS = 1.0
# What a file whose size is known roughly may have more than that.
ROUNDED = 1.5


def pull(model: str, say: Callable[[str], None], *, force: bool = False) -> Installed:
    """Install the published weights of ``model``; nothing is fetched when they are there.

    ``force`` installs them again, from the checkpoint in the folder if that is whole. Raises WeightsError, and leaves
    what was installed before as it was, when they cannot be had or are not the published ones.
    """
    file = published_file(model)
    if not force and (there := _intact(file)) is not None and not leftovers(there):
        say(f"{model}: installed already")
        return there
    with writing(model, say) as folder:
        # Another process may have done it while this one waited.
        if not force and (there := _intact(file)) is not None:
            sweep(there)
            say(f"{model}: installed already")
            return there
        return _install(file, folder, say)


def _intact(file: PublishedFile) -> Installed | None:
    try:
        installed = find_installed(file.model)
        if installed is None or installed.sha256 != file.sha256:
            return None
        installed.check()
    except WeightsError:
        return None
    return installed


def _install(file: PublishedFile, folder: Path, say: Callable[[str], None]) -> Installed:
    checkpoint = folder / checkpoint_name(file.model, file.sha256, file.file)
    if checkpoint.exists() and sha256_of(checkpoint) == file.sha256:
        return place(file.model, checkpoint, file.sha256, file.file)
    part = part_of(checkpoint)
    _fetch(file, part, say)
    try:
        check_published(file, part, file.url)
    except WeightsError as error:
        # Going on from wrong bytes would never end well.
        part.unlink(missing_ok=True)
        raise WeightsError(f"{error.message}; it was thrown away", hint="pull again, or ask the mirror") from error
    return place(file.model, part, file.sha256, file.file)


def _fetch(file: PublishedFile, part: Path, say: Callable[[str], None]) -> None:
    """Complete ``part`` from the hub."""
    have = size_of(part)
    if have and sha256_of(part) == file.sha256:
        return None
    # The checkpoint, and the file made from it.
    require_space(part.parent, 2 * file.size - have)
    begun = f", going on after {have / MEGABYTE:.0f} MB" if have else ""
    say(f"{file.model}: fetching {file.file}, {file.size / MEGABYTE:.0f} MB{begun}")
    while True:
        have = size_of(part)
        try:
            return _request(file, part)
        except M3dError:
            raise
        except Exception as error:
            # What the network raises depends on the HTTP library below the hub's client.
            if _is_of_the_disk(error):
                raise
            if size_of(part) <= have:
                raise _explained(file, error) from error
            say(f"{file.model}: cut after {size_of(part) / MEGABYTE:.0f} MB, going on")
            time.sleep(PAUSE_SECONDS)


def _request(file: PublishedFile, part: Path) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    url = hf_hub_url(file.repo, file.file, revision=file.revision, endpoint=endpoint)
    found = get_hf_file_metadata(url, library_name="m3d", library_version=__version__)
    size = _expected_size(file, found.size, found.etag)
    if size is not None and size_of(part) > size:
        part.unlink()
    headers = build_hf_headers(library_name="m3d", library_version=__version__)
    # A compressed answer could not be continued in the middle.
    headers["Accept-Encoding"] = "identity"
    with io.BufferedWriter(_Capped(part, _most_bytes(file))) as stream:
        http_get(
            url,
            stream,
            resume_size=size_of(part),
            headers=headers,
            expected_size=size,
            displayed_filename=file.file,
        )


class _Capped(io.FileIO):
    """The end of a part file, which takes no more than ``most`` bytes in all: a mirror may send for ever."""

    def __init__(self, part: Path, most: int) -> None:
        super().__init__(part, "ab")
        self._part, self._most = part, most

    def write(self, data: Any, /) -> int:
        """Write; throws the part away and raises WeightsError beyond the limit."""
        if self.tell() + len(data) > self._most:
            self.truncate(0)
            raise WeightsError(
                f"{self._part.name}: the hub sends more than the {self._most / MEGABYTE:.0f} MB of the published file; "
                "it was thrown away",
                hint="check HF_ENDPOINT: this is not the published file",
            )
        return super().write(data)


def _most_bytes(file: PublishedFile) -> int:
    return file.size if file.is_size_exact else int(file.size * ROUNDED)


def _expected_size(file: PublishedFile, size: int | None, etag: str | None) -> int | None:
    """How large the hub's file is, if it is known; raises WeightsError before a byte is fetched when it is another."""
    is_other = size is not None and file.is_size_exact and size != file.size
    # The tag of a large file on the hub is its checksum.
    is_other |= etag is not None and len(etag) == len(file.sha256) and etag != file.sha256
    if is_other:
        raise WeightsError(
            f"{file.url}: not the published file any more ({size} bytes, tag {etag})",
            hint="if you trust it, fetch it yourself and m3d weights import FILE --name " + file.model,
        )
    return file.size if file.is_size_exact else size


def _is_of_the_disk(error: Exception) -> bool:
    return (
        isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError | TimeoutError)
    )


def _explained(file: PublishedFile, error: Exception) -> WeightsError:
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled

    carry = f"fetch {file.url} elsewhere and m3d weights import FILE"
    if isinstance(error, OfflineModeIsEnabled):
        return WeightsError(f"{file.model}: HF_HUB_OFFLINE forbids downloads", hint=f"unset it, or {carry}")
    if isinstance(error, EntryNotFoundError):
        return WeightsError(
            f"{file.model}: the hub has no {file.repo}/{file.file}", hint=f"check HF_ENDPOINT, or {carry}"
        )
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, HfHubHTTPError):
        return WeightsError(f"{file.model}: the hub refuses ({reason})", hint=f"check HF_ENDPOINT, or {carry}")
    return WeightsError(
        f"{file.model}: the hub cannot be reached ({reason})",
        hint=f"run it again to continue where it stopped; without a network {carry}",
    )


def pull_all(names: Sequence[str], report: Reporter, *, force: bool, quiet: bool) -> Iterator[Path]:
    """The installed files of networks, fetched where they are missing; raises UsageError for unknown names first."""
    for name in names:
        if name not in BUNDLED:
            published_file(name)
    if quiet:
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()
    for name in names:
        if name in BUNDLED:
            report.say(f"{name}: comes with the package")
            yield BUNDLED[name].path
        else:
            yield pull(name, report.say, force=force).path
