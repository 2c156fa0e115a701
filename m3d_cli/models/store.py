"""The folder of installed weights: where it is, what is in it, who may write. Loads no torch.

A network has three files there: ``NAME-SHA12.pth``, the checkpoint as it came, named by its checksum;
``NAME-SHA12.safetensors``, the same tensors under our own names, which is what is loaded; and ``NAME.json``, the record
of both. The record is written last: what it names is installed, anything else is a leftover.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from platformdirs import user_cache_path

from m3d_cli.atomic import write_bytes
from m3d_cli.bounded_files import reading
from m3d_cli.errors import OutputError, WeightsError

SHA_IN_NAME = 12
GIGABYTE = 1e9

_WRITING_HINT = "check space and permissions; M3D_CACHE moves the folder"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the folder; ``size`` in bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Installed:
    """A network's installed weights; ``called`` is the name its checkpoint came under."""

    model: str
    folder: Path
    called: str
    checkpoint: StoredFile
    loaded: StoredFile

    @property
    def path(self) -> Path:
        """The file to load."""
        return self.folder / self.loaded.name

    @property
    def checkpoint_path(self) -> Path:
        """The checkpoint as it came; it may have been removed to save space."""
        return self.folder / self.checkpoint.name

    @property
    def sha256(self) -> str:
        """What names these weights in every sidecar: the checksum of the checkpoint they were made from."""
        return self.checkpoint.sha256

    def check(self) -> None:
        """Raise WeightsError unless the file is there in full; cheap, `m3d weights verify` reads every byte."""
        size = size_of(self.path)
        if size != self.loaded.size:
            raise WeightsError(
                f"{self.path}: {size} bytes, the record says {self.loaded.size}", hint=again_hint(self.model)
            )


def again_hint(model: str) -> str:
    """The way out of a damaged installation."""
    return f"m3d weights pull {model} --force, or import the checkpoint again"


def cache_folder() -> Path:
    """Where downloads and tuning results are kept: M3D_CACHE, or the platform's cache folder."""
    if chosen := os.environ.get("M3D_CACHE"):
        return Path(chosen).expanduser().absolute()
    # Without `opinion` Windows has no further "Cache" folder below, which is where earlier releases wrote.
    return user_cache_path("m3d", appauthor=False, opinion=False)


def weights_folder() -> Path:
    """The folder of installed weights; it need not exist yet."""
    return cache_folder() / "weights"


def file_name(model: str, sha256: str, suffix: str) -> str:
    """Name of a network's file: another content has another name, so nothing installed is ever written over."""
    return f"{model}-{sha256[:SHA_IN_NAME]}{suffix}"


def size_of(path: Path) -> int:
    """Bytes of a file, 0 when there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def find_installed(model: str) -> Installed | None:
    """The record of ``model`` when its file is there; raises WeightsError for a record that cannot be understood."""
    path = weights_folder() / f"{model}.json"
    with reading(path, "the record of weights", WeightsError, again_hint(model)):
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        found = Installed(
            fields["model"],
            path.parent,
            fields["called"],
            StoredFile(**fields["checkpoint"]),
            StoredFile(**fields["loaded"]),
        )
        if not _is_plain(found) or found.model != model:
            raise WeightsError(f"{path}: not a record of {model}", hint=again_hint(model))
        return found if found.path.is_file() else None


def _is_plain(found: Installed) -> bool:
    files = (found.checkpoint, found.loaded)
    return all(Path(each.name).name == each.name and isinstance(each.size, int) for each in files)


def write_record(installed: Installed) -> None:
    """Make ``installed`` what is installed of its network, and remove what is left of others."""
    fields = asdict(installed)
    del fields["folder"]
    content = json.dumps(fields, indent=2) + "\n"
    write_bytes(installed.folder / f"{installed.model}.json", content.encode())
    sweep(installed)


def leftovers(installed: Installed) -> list[Path]:
    """Files of the network's earlier weights, which an installation that was killed at its end leaves."""
    kept = {installed.checkpoint.name, installed.loaded.name}
    digits = "[0-9a-f]" * SHA_IN_NAME
    found = installed.folder.glob(f"{installed.model}-{digits}.*")
    return [path for path in found if path.name not in kept and path.suffix in (".pth", ".safetensors")]


def sweep(installed: Installed) -> None:
    """Remove the leftovers; to be called while holding the folder (`writing`)."""
    for path in leftovers(installed):
        # Another run may have it open, which Windows does not forgive; the next installation tries again.
        with suppress(OSError):
            path.unlink()


@contextmanager
def writing(model: str, say: Callable[[str], None]) -> Iterator[Path]:
    """The folder, made and held for ``model`` against other processes; what the disk refuses becomes a WeightsError."""
    from filelock import FileLock, Timeout

    folder = weights_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{model}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"{model}: another m3d is at these weights, waiting for it")
            lock.acquire()
        try:
            yield folder
        finally:
            lock.release()
    except OutputError as error:
        raise WeightsError(error.message, hint=_WRITING_HINT) from error
    except OSError as error:
        reason = error.strerror or error
        raise WeightsError(f"{error.filename or folder}: cannot be written ({reason})", hint=_WRITING_HINT) from error


def require_space(folder: Path, needed: int) -> None:
    """Raise WeightsError when fewer than ``needed`` bytes are free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WeightsError(
            f"{folder}: {needed / GIGABYTE:.1f} GB are needed, {free / GIGABYTE:.1f} GB are free",
            hint="M3D_CACHE moves the folder",
        )
