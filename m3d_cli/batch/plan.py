"""What a run will write for each photo, checked before any work: no two photos share an output, no output is an input."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from m3d_cli.errors import CollisionError, UsageError
from m3d_cli.files.discover import PhotoFile


class OutputFormat(str, Enum):
    """Products of `m3d depth`; the sidecar JSON always comes with them."""

    PNG = "png"
    NPY = "npy"
    NPZ = "npz"
    TIFF = "tiff"
    PFM = "pfm"
    EXR = "exr"
    CONFIDENCE = "conf"
    PREVIEW = "preview"

    def __str__(self) -> str:
        return self.value


SUFFIXES = {
    OutputFormat.PNG: ".png",
    OutputFormat.NPY: ".npy",
    OutputFormat.NPZ: ".npz",
    OutputFormat.TIFF: ".tiff",
    OutputFormat.PFM: ".pfm",
    OutputFormat.EXR: ".exr",
    OutputFormat.CONFIDENCE: ".conf.png",
    OutputFormat.PREVIEW: ".preview.png",
}
SIDECAR_SUFFIX = ".json"


def parse_formats(text: str) -> tuple[OutputFormat, ...]:
    """``png,npy`` to formats, in the order of OutputFormat, each once."""
    names = {name.strip().lower() for name in text.split(",") if name.strip()}
    unknown = names - {f.value for f in OutputFormat}
    if unknown or not names:
        raise UsageError(
            f"--format {text}: {', '.join(sorted(unknown)) or 'nothing'} is no format",
            hint=f"any of {', '.join(OutputFormat)}, separated by commas",
        )
    return tuple(f for f in OutputFormat if f.value in names)


@dataclass(frozen=True, slots=True)
class Job:
    """One photo and the files it will become. ``stem`` is the outputs' path without suffixes."""

    photo: PhotoFile
    stem: Path
    formats: tuple[OutputFormat, ...]

    @property
    def sidecar(self) -> Path:
        """The JSON beside the depth."""
        return _with_suffix(self.stem, SIDECAR_SUFFIX)

    def output(self, kind: OutputFormat) -> Path:
        """The file of one format."""
        return _with_suffix(self.stem, SUFFIXES[kind])

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Every file of this photo, the sidecar last."""
        return (*(self.output(kind) for kind in self.formats), self.sidecar)


def plan(
    photos: Iterable[PhotoFile], out: Path, formats: tuple[OutputFormat, ...], keep_extension: bool = False
) -> tuple[Job, ...]:
    """A job a photo, in order; raises CollisionError before any work."""
    jobs = tuple(_job(photo, out, formats, keep_extension) for photo in photos)
    _check_collisions(jobs)
    return jobs


def photo_key(job: Job, settings: str) -> str:
    """Digest of a photo as it is on disk (name, size, time) and of the ``settings`` it is worked on with.

    A photo that is not there any more has a key too: its failure is told where its work is done.
    """
    try:
        stat = job.photo.path.stat()
        state = f"{stat.st_size}:{stat.st_mtime_ns}"
    except OSError:
        state = "absent"
    text = "\0".join((settings, str(job.photo.relative), os.fspath(job.stem), state))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _job(photo: PhotoFile, out: Path, formats: tuple[OutputFormat, ...], keep_extension: bool) -> Job:
    relative = photo.relative if keep_extension else photo.relative.with_suffix("")
    return Job(photo, out / relative, formats)


def _check_collisions(jobs: tuple[Job, ...]) -> None:
    owner: dict[str, Job] = {}
    for job, output in _all_outputs(jobs):
        other = owner.setdefault(os.path.normcase(output), job)
        if other is not job:
            raise CollisionError(
                f"{other.photo.path} and {job.photo.path} would both write {output}", hint="use --keep-extension"
            )
    for job in jobs:
        taken = owner.get(os.path.normcase(job.photo.path.absolute()))
        taken = taken or owner.get(os.path.normcase(job.photo.path.resolve()))
        if taken is not None:
            raise CollisionError(
                f"the output of {taken.photo.path} would overwrite the input {job.photo.path}",
                hint="choose another --out",
            )


def _all_outputs(jobs: tuple[Job, ...]) -> Iterator[tuple[Job, Path]]:
    root: dict[Path, Path] = {}
    for job in jobs:
        folder = job.stem.parent
        if folder not in root:
            root[folder] = folder.resolve()
        for output in job.outputs:
            yield job, root[folder] / output.name


def _with_suffix(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)
