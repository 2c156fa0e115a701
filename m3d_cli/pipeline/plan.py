"""What a run will write for each photo, checked before any work: no two outputs are one file, and none is an input."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path

from m3d_cli.atomic import PART
from m3d_cli.errors import CollisionError, UsageError
from m3d_cli.photos.discover import PhotoFile


class OutputFormat(str, Enum):
    """Products of `m3d depth`; the sidecar JSON always comes with them."""

    PNG = "png"
    NPY = "npy"
    NPZ = "npz"
    TIFF = "tiff"
    PFM = "pfm"
    EXR = "exr"
    CONFIDENCE = "conf"
    NORMAL = "normal"
    NORMAL_NPY = "normal-npy"
    PREVIEW = "preview"
    PLY = "ply"
    PCD = "pcd"
    XYZ = "xyz"
    GLB = "glb"
    CLOUD_PREVIEW = "cloud-preview"

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
    OutputFormat.NORMAL: ".normal.png",
    OutputFormat.NORMAL_NPY: ".normal.npy",
    OutputFormat.PREVIEW: ".preview.png",
    OutputFormat.PLY: ".ply",
    OutputFormat.PCD: ".pcd",
    OutputFormat.XYZ: ".xyz",
    OutputFormat.GLB: ".glb",
    OutputFormat.CLOUD_PREVIEW: ".cloud.png",
}
SIDECAR_SUFFIX = ".json"

# Bytes of a file name, on nearly every file system.
LONGEST_NAME = 255


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
    """One photo and the files it will become: ``out`` / ``name`` (with slashes) with a suffix each."""

    photo: PhotoFile
    out: Path
    name: str
    formats: tuple[OutputFormat, ...]

    @property
    def sidecar(self) -> Path:
        """The JSON beside the depth."""
        return self._with_suffix(SIDECAR_SUFFIX)

    def output(self, kind: OutputFormat) -> Path:
        """The file of one format."""
        return self._with_suffix(SUFFIXES[kind])

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Every file of this photo, the sidecar last."""
        return tuple(self._with_suffix(suffix) for suffix in self.suffixes)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What is added to the name for every file of this photo, the sidecar last."""
        return _suffixes(self.formats)

    def _with_suffix(self, suffix: str) -> Path:
        # Path.with_suffix would take ".5" off "shot_1.5".
        return Path(self.out, f"{self.name}{suffix}")


@cache
def _suffixes(formats: tuple[OutputFormat, ...]) -> tuple[str, ...]:
    return (*(SUFFIXES[kind] for kind in formats), SIDECAR_SUFFIX)


def plan(
    photos: Iterable[PhotoFile], out: Path, formats: tuple[OutputFormat, ...], keep_extension: bool = False
) -> tuple[Job, ...]:
    """A job per photo, in order; raises CollisionError before any work."""
    jobs = tuple(_job(photo, out, formats, keep_extension) for photo in photos)
    # What cannot be a photo will write nothing.
    _check_collisions([job for job in jobs if not job.photo.problem])
    return jobs


def photo_key(job: Job, settings: str) -> str:
    """Digest of a photo as it is on disk (place, size, time), of its output's name, and of the ``settings``.

    A photo that is not there any more has a key too: its failure is reported where its work is done.
    """
    text = "\0".join((settings, *_place_and_state(job.photo), job.name))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _place_and_state(photo: PhotoFile) -> tuple[str, str]:
    if photo.source is not None:
        return photo.source.url, photo.source.state
    try:
        status = os.stat(photo.path)  # noqa: PTH116 - hot loop
        state = f"{status.st_size}:{status.st_mtime_ns}"
    except OSError:
        state = "absent"
    # As Path.absolute does, which takes longer.
    return os.path.join(os.getcwd(), photo.path), state  # noqa: PTH109, PTH118


def _job(photo: PhotoFile, out: Path, formats: tuple[OutputFormat, ...], keep_extension: bool) -> Job:
    # As strings, see _Folders.
    folder, slash, last = str(photo.relative).rpartition("/")
    dot = last.rfind(".")
    if not keep_extension and 0 < dot < len(last) - 1:
        last = last[:dot]
    job = Job(photo, out, folder + slash + last, formats)
    longest = len(os.fsencode(last)) + max(map(len, job.suffixes)) + len(PART)
    if photo.problem or longest <= LONGEST_NAME:
        return job
    problem = f"its name is too long: with the ending of a result it has {longest} bytes, {LONGEST_NAME} are possible"
    return replace(job, photo=replace(photo, problem=problem))


def _check_collisions(jobs: Sequence[Job]) -> None:
    owner: dict[str, Job] = {}
    for job, output in _all_outputs(jobs):
        other = owner.setdefault(os.path.normcase(output), job)
        if other is not job:
            raise CollisionError(
                f"{other.photo.name} and {job.photo.name} would both write {output}", hint=_way_out(other, job)
            )
    folders = _Folders()
    for job in jobs:
        photo = folders.real(job.photo.path)
        taken = owner.get(os.path.normcase(photo))
        if taken is not None:
            raise CollisionError(
                f"the output of {taken.photo.name} would overwrite the input {job.photo.name}",
                hint="choose another --out",
            )
        if os.path.dirname(photo) == folders.of(job):  # noqa: PTH120 - hot loop
            raise CollisionError(
                f"{job.photo.path} would get its depth beside it, which a next run would take for photos",
                hint="choose an --out other than the folder of the photos",
            )


def _way_out(one: Job, other: Job) -> str:
    if os.path.normcase(one.photo.relative) != os.path.normcase(other.photo.relative):
        return "use --keep-extension"
    return "give the folder above both with -r, or --files-from, which keep the folders apart"


def _all_outputs(jobs: Sequence[Job]) -> Iterator[tuple[Job, str]]:
    folders = _Folders()
    for job in jobs:
        stem = folders.of(job) + os.sep + job.name.rpartition("/")[2]
        for suffix in job.suffixes:
            yield job, stem + suffix


class _Folders:
    """Real paths, with each folder looked at once."""

    # With strings: a Path for each of a hundred thousand photos would take longer than all the rest.

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, job: Job) -> str:
        """The folder of a job's outputs."""
        return self._folder(os.path.join(job.out, job.name.rpartition("/")[0]))  # noqa: PTH118

    def real(self, path: Path) -> str:
        """A file, its folder being what links lead to."""
        folder, name = os.path.split(path)
        return os.path.join(self._folder(folder), name)  # noqa: PTH118

    def _folder(self, path: str) -> str:
        if path not in self._known:
            self._known[path] = os.path.realpath(path)
        return self._known[path]
