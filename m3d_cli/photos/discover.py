"""Which photos a command works on: files, folders, quoted globs and lists, in natural order, each one once.

A name given on purpose (an argument, a line of a list) always comes out, as a photo or as a failure with its reason.
Inside a folder, what is no image is left out and counted.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from m3d_cli.errors import NoInputError, UsageError
from m3d_cli.photo_names import natural_key
from m3d_cli.photos.file_list import current_folder, read_list
from m3d_cli.photos.path_names import GLOB_CHARACTERS, fixed_prefix, mirrored, safe_name
from m3d_cli.photos.remote import RemoteFile, find_remote, is_url
from m3d_cli.photos.sniff import (
    HEAD_BYTES,
    RAW_SUFFIXES,
    ImageFormat,
    can_read_raw,
    has_image_name,
    has_raw_name,
    sniff,
)

NOT_AN_IMAGE = "not an image"
EXCLUDED = "excluded"
DUPLICATE = "duplicate"
HIDDEN = "hidden"
UNREADABLE = "unreadable"
SPECIAL = "pipe, socket or device"
RAW_UNSUPPORTED = "camera RAW without the package rawpy"
SUBFOLDER = "subfolder (--recursive reads it)"
OUTPUT_FOLDER = "output folder"


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """One input: where its bytes are and its place in the mirrored output tree.

    ``relative`` keeps the file's suffix and never leaves the tree (no ``..``, no root). ``problem`` says why an input
    named on purpose cannot be a photo; empty for a candidate. The ``path`` of a photo with a ``source`` is that of its
    copy while it is processed (`pipeline.resume.at_hand`); before, there is no file at it.
    """

    path: Path
    relative: PurePosixPath
    problem: str = ""
    source: RemoteFile | None = None

    @property
    def name(self) -> str:
        """What the photo is called in journals and messages: its path as given, or its URL."""
        return str(self.path) if self.source is None else self.source.url


@dataclass(frozen=True, slots=True)
class Selection:
    """What to take from the inputs.

    ``include`` and ``exclude`` are globs without regard to case, tried on the relative path and on the bare name; ``*``
    also crosses folders. ``skip_folders`` below an input folder, below the fixed part of a glob or below the common
    folder of a list are left out: the outputs of an earlier run are no inputs. Files given as arguments always count.
    """

    recursive: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    skip_folders: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """The inputs in order, and how many entries were left out for which reason."""

    photos: tuple[PhotoFile, ...]
    ignored: tuple[tuple[str, int], ...] = ()

    def summary(self) -> str:
        """For example ``12 photos, 3 ignored (2 not an image, 1 duplicate)``."""
        found = len(self.photos)
        text = f"{found} photo{'' if found == 1 else 's'}"
        if not self.ignored:
            return text
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.ignored)
        return f"{text}, {sum(count for _, count in self.ignored)} ignored ({reasons})"


def discover(
    inputs: Iterable[str | Path],
    selection: Selection | None = None,
    *,
    listed: Sequence[str] = (),
) -> Listing:
    """Photos named by ``inputs`` (files, folders, globs) and then by ``listed`` (lines of ``--files-from``)."""
    return _Search(selection or Selection()).run(inputs, listed)


def find_photos(
    paths: Sequence[str],
    selection: Selection,
    files_from: str | None = None,
    *,
    null_separated: bool = False,
    takes_urls: bool = False,
) -> Listing:
    """The photos named; raises `NoInputError` when none exists, `UsageError` when none was named."""
    if not paths and files_from is None:
        raise UsageError("no photos named", hint="give files, folders or quoted globs, or --files-from")
    listed = read_list(files_from, null_separated=null_separated) if files_from is not None else []
    if not takes_urls and (urls := [text for text in (*paths, *listed) if is_url(text)]):
        raise UsageError(f"{urls[0]}: this command reads local files", hint="m3d depth and m3d pointcloud take URLs")
    listing = discover(paths, selection, listed=listed)
    if not listing.photos:
        raise NoInputError(f"no photos found: {listing.summary()}", hint="check the paths; --recursive goes deeper")
    return listing


class _Search:
    """One walk over all inputs; remembers what was seen so that nothing comes twice."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.include = _compile(selection.include)
        self.exclude = _compile(selection.exclude)
        self.skip_folders = frozenset(os.path.realpath(folder) for folder in selection.skip_folders)
        self.seen: set[str] = set()
        self.real_folders: dict[str, str] = {}
        self.ignored: Counter[str] = Counter()

    def run(self, inputs: Iterable[str | Path], listed: Sequence[str]) -> Listing:
        photos = [photo for entry in inputs for photo in self._argument(str(entry))]
        photos.extend(self._listed(listed))
        return Listing(tuple(photos), tuple(sorted(self.ignored.items())))

    def _argument(self, text: str) -> Iterator[PhotoFile]:
        if is_url(text):
            return self._remote(text)
        if os.path.isdir(text):  # noqa: PTH112 - plain strings keep 100,000 paths fast
            return self._folder(text)
        if GLOB_CHARACTERS.search(text) and not os.path.lexists(text):
            return self._glob(text)
        return self._named(text, os.path.basename(text))  # noqa: PTH119

    def _listed(self, listed: Sequence[str]) -> Iterator[PhotoFile]:
        for url in filter(is_url, listed):
            try:
                yield from self._remote(url)
            except UsageError as error:
                # One address of a list is one photo: the others go on.
                remote = RemoteFile(url)
                yield PhotoFile(remote.nowhere, PurePosixPath(safe_name(url)), error.message, remote)
        listed = [text for text in listed if not is_url(text)]
        cwd = current_folder() if listed else ""
        absolute = [os.path.normpath(os.path.join(cwd, text)) for text in listed]  # noqa: PTH118 - hot loop
        base = _common_folder([path for path in absolute if not _is_inside(path, cwd)])
        skipped = self._skipped_below(_common_folder(absolute))
        for text, path in zip(listed, absolute, strict=True):
            if os.path.isdir(text):  # noqa: PTH112
                yield from self._folder(text)
                continue
            if self._is_output(path, skipped):
                self.ignored[OUTPUT_FOLDER] += 1
                continue
            yield from self._named(text, os.path.relpath(path, cwd if _is_inside(path, cwd) else base))

    def _remote(self, url: str) -> Iterator[PhotoFile]:
        """Photos behind a URL, by their names: a look into each would cost as much as fetching it."""
        try:
            found = find_remote(url, recursive=self.selection.recursive)
        except FileNotFoundError as error:
            remote = RemoteFile(url)
            yield PhotoFile(remote.nowhere, PurePosixPath(safe_name(url)), str(error), remote)
            return
        for remote, relative in sorted(found, key=lambda pair: natural_key(pair[1])):
            reason = self._reason_to_ignore_remote(remote.url, relative)
            if reason == NOT_AN_IMAGE and remote.url == url:
                reason = ""  # named on purpose; what it is shows when it is fetched
            if reason:
                self.ignored[reason] += 1
                continue
            self.seen.add(remote.url)
            yield PhotoFile(remote.nowhere, mirrored(relative), source=remote)

    def _reason_to_ignore_remote(self, url: str, relative: str) -> str:
        if not self._selected(relative):
            return EXCLUDED
        if not self.selection.hidden and any(part.startswith(".") for part in relative.split("/")):
            return HIDDEN
        if has_raw_name(relative) and not can_read_raw():
            return RAW_UNSUPPORTED
        if not (has_image_name(relative) or has_raw_name(relative)):
            return NOT_AN_IMAGE
        return DUPLICATE if url in self.seen else ""

    def _glob(self, pattern: str) -> Iterator[PhotoFile]:
        matches = sorted(glob.iglob(pattern, recursive=True), key=natural_key)  # noqa: PTH207
        if not matches:
            yield PhotoFile(Path(pattern), PurePosixPath(safe_name(pattern)), "the pattern matches no file")
        prefix = fixed_prefix(pattern)
        skipped = self._skipped_below(prefix)
        for match in matches:
            if os.path.isdir(match):  # noqa: PTH112 - `a/**` lists folders and their files alike
                continue
            if self._is_output(match, skipped):
                self.ignored[OUTPUT_FOLDER] += 1
                continue
            if os.path.exists(match) and not os.path.isfile(match):  # noqa: PTH110, PTH113
                self.ignored[SPECIAL] += 1
                continue
            yield from self._found(match, os.path.relpath(match, prefix))

    def _skipped_below(self, folder: str) -> tuple[str, ...]:
        """Folders to skip strictly below ``folder``: whoever names the output folder itself means what is in it."""
        real = os.path.realpath(folder)
        return tuple(skipped for skipped in self.skip_folders if _is_inside(skipped, real))

    def _is_output(self, path: str, skipped: tuple[str, ...]) -> bool:
        """Whether the folder of the file ``path`` is one of ``skipped`` or lies below one."""
        if not skipped:
            return False
        real = self._real_folder(os.path.dirname(path))  # noqa: PTH120 - hot loop
        return any(real == folder or _is_inside(real, folder) for folder in skipped)

    def _folder(self, root: str) -> Iterator[PhotoFile]:
        # A link may point back to a folder above it, so the real folders on the way down are remembered.
        stack = [(root, "", frozenset((os.path.realpath(root),)))]
        while stack:
            folder, relative, above = stack.pop()
            files, folders = self._scan(folder, relative)
            for path, name in files:
                yield from self._found(path, name)
            for path, name in reversed(folders):
                real = os.path.realpath(path)
                if self._enters(real, above):
                    stack.append((path, name, above | {real}))

    def _enters(self, real: str, above: frozenset[str]) -> bool:
        if real in self.skip_folders:
            self.ignored[OUTPUT_FOLDER] += 1
            return False
        if not self.selection.recursive:
            self.ignored[SUBFOLDER] += 1
            return False
        return real not in above

    def _scan(self, folder: str, relative: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        files: list[tuple[str, str]] = []
        folders: list[tuple[str, str]] = []
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name))
        except OSError:
            self.ignored[UNREADABLE] += 1
            return files, folders
        for entry in entries:
            if entry.name.startswith(".") and not self.selection.hidden:
                self.ignored[HIDDEN] += 1
                continue
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link that leads to itself
                self.ignored[UNREADABLE] += 1
                continue
            if is_folder:
                folders.append((entry.path, f"{relative}{entry.name}"))
            elif is_file or not os.path.exists(entry.path):  # noqa: PTH110 - hot loop
                files.append((entry.path, f"{relative}{entry.name}"))
            else:
                self.ignored[SPECIAL] += 1
        return files, [(path, f"{name}/") for path, name in folders]

    def _found(self, path: str, relative: str) -> Iterator[PhotoFile]:
        """A file met in a folder or by a glob: a candidate, or counted as ignored."""
        reason = self._reason_to_ignore(path, relative)
        if not reason and self._is_repeated(path):
            reason = DUPLICATE
        if reason:
            self.ignored[reason] += 1
            return
        yield PhotoFile(Path(path), mirrored(relative))

    def _named(self, path: str, relative: str) -> Iterator[PhotoFile]:
        """A file named on purpose: filtered like the others, otherwise never left out."""
        if not self._selected(relative):
            self.ignored[EXCLUDED] += 1
            return
        problem = _problem(path)
        if not problem and self._is_repeated(path):
            self.ignored[DUPLICATE] += 1
            return
        yield PhotoFile(Path(path), mirrored(relative), problem)

    def _reason_to_ignore(self, path: str, relative: str) -> str:
        if not self._selected(relative):
            return EXCLUDED
        suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122
        if suffix in RAW_SUFFIXES:
            return "" if can_read_raw() else RAW_UNSUPPORTED
        # An image's name with broken content is a photo that fails later with its reason, not something to hide.
        if has_image_name(path):
            return ""
        try:
            found = sniff(_head(path))
        except OSError:
            return UNREADABLE
        if found is ImageFormat.RAW and not can_read_raw():
            return RAW_UNSUPPORTED
        return "" if found else NOT_AN_IMAGE

    def _selected(self, relative: str) -> bool:
        if self.exclude and _matches(self.exclude, relative):
            return False
        return not self.include or _matches(self.include, relative)

    def _is_repeated(self, path: str) -> bool:
        real = self._real_path(path)
        if real in self.seen:
            return True
        self.seen.add(real)
        return False

    def _real_path(self, path: str) -> str:
        """`os.path.realpath` that looks at each folder once."""
        folder, name = os.path.split(path)
        if not name or name in (".", "..") or os.path.islink(path):  # noqa: PTH114
            return os.path.realpath(path)
        return os.path.join(self._real_folder(folder), name)  # noqa: PTH118

    def _real_folder(self, folder: str) -> str:
        if folder not in self.real_folders:
            self.real_folders[folder] = os.path.realpath(folder)
        return self.real_folders[folder]


def _problem(path: str) -> str:
    """Why a file named on purpose is no photo; empty if it may be one."""
    try:
        head = _head(path)
    except FileNotFoundError:
        return "there is no such file"
    except IsADirectoryError:
        return "is a folder"
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if not head:
        return "the file is empty"
    if sniff(head) is None and not has_raw_name(path):
        return "is not an image that m3d knows (its first bytes are of no image format)"
    return ""


def _head(path: str) -> bytes:
    mode = os.stat(path).st_mode  # noqa: PTH116 - hot loop
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(path)
    # A pipe or a device could block for ever or never end.
    if not stat.S_ISREG(mode):
        raise OSError(0, "not a regular file")
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - hot loop
        return file.read(HEAD_BYTES)


def _compile(patterns: Sequence[str]) -> re.Pattern[str] | None:
    text = "|".join(fnmatch.translate(pattern) for pattern in patterns)
    return re.compile(text, re.IGNORECASE) if patterns else None


def _matches(pattern: re.Pattern[str], relative: str) -> bool:
    return bool(pattern.match(relative) or pattern.match(relative.rpartition("/")[2]))


def _is_inside(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _common_folder(paths: Sequence[str]) -> str:
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    except ValueError:  # none, or different drives
        return os.sep
