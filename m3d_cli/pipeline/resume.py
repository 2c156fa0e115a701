"""From planned photos to what is left to do: the common focal length of one camera, and what an earlier run did."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from m3d_cli.camera import Camera
from m3d_cli.errors import M3dError, PhotoError
from m3d_cli.formats.depth_folder import depth_files, stored_source
from m3d_cli.intrinsics.shared_focal import consensus
from m3d_cli.photos.discover import PhotoFile
from m3d_cli.photos.load import CameraSources, focal_required, read_camera
from m3d_cli.photos.remote import fetched
from m3d_cli.pipeline.journal import Journal, Outcome
from m3d_cli.pipeline.plan import Job, photo_key
from m3d_cli.pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Shared:
    """What one photo got from the others of its camera: a camera, or the error that reading its header gave."""

    camera: Camera | None = None
    error: M3dError | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One photo to be processed, under the key of its journal lines; ``earlier`` is the outcome of one that is done."""

    job: Job
    key: str
    shared: Shared | None = None
    earlier: Outcome | None = None


def tasks(
    jobs: Sequence[Job], settings: Settings, journal: Journal, shared: Sequence[Shared] | None, *, overwrite: bool
) -> Iterator[Task]:
    """A task a job, made when it is asked for; ``overwrite`` does everything again."""
    digest = settings.digest
    for index, job in enumerate(jobs):
        from_others = shared[index] if shared is not None else None
        entries = (
            digest,
            _file_entries(job, settings.camera),
            _shared_camera(from_others),
            _stored_state(job, settings),
        )
        key = photo_key(job, "\0".join(entries))
        yield Task(job, key, from_others, None if overwrite else journal.finished(key, job.photo.name))


def share_focal(photos: Sequence[PhotoFile], camera: CameraSources) -> tuple[Shared, ...]:
    """Headers of all photos read, and the consensus of their focal lengths, for ``--same-camera``."""
    # A photo without a focal length of its own may get one here, so nobody is required to have one yet.
    lenient = dataclasses.replace(camera, require_focal=False)
    own = [_own_camera(photo, lenient) for photo in photos]
    common = iter(consensus([one.camera for one in own if one.camera is not None]))
    return tuple(one if one.camera is None else Shared(next(common)) for one in own)


@contextmanager
def at_hand(task: Task, settings: Settings) -> Iterator[Task]:
    """The task with its photo on the disk: a remote one is fetched, and its copy removed when the block ends.

    Raises PhotoError where it cannot be fetched.
    """
    photo = task.job.photo
    if photo.source is None:
        yield task
        return
    if photo.problem:
        raise PhotoError(f"{photo.name}: {photo.problem}")
    with fetched(photo.source, settings.most_download) as copy:
        job = dataclasses.replace(task.job, photo=dataclasses.replace(photo, path=copy))
        yield dataclasses.replace(task, job=job)


def camera_of(photo: PhotoFile, shared: Shared | None, sources: CameraSources) -> Camera:
    """The camera a photo is processed with; raises `PhotoError`, or `FocalError` where one is required."""
    if photo.problem:
        raise PhotoError(f"{photo.name}: {photo.problem}")
    if shared is None:
        return read_camera(photo.path, sources, photo.relative)
    if shared.camera is None:
        raise shared.error or PhotoError(f"{photo.path}: cannot be read")
    if sources.require_focal and shared.camera.is_assumed and not sources.from_image:
        raise focal_required(photo.path)
    return shared.camera


def _file_entries(job: Job, camera: CameraSources) -> str:
    """What the calibration and EXIF files say of this photo: entries of other photos may come and go."""
    path, relative = job.photo.path, job.photo.relative
    intrinsics = camera.calibration.find(path, relative) if camera.calibration is not None else None
    # The name of a file without an entry stands in the photo's warnings.
    origin = camera.calibration.origin if camera.calibration is not None and intrinsics is None else ""
    exif = camera.sidecar.find(path, relative) if camera.sidecar is not None else None
    # Which entry is that of the photo's camera shows in its header alone: all of them count.
    cameras = camera.calibration.of_cameras if camera.calibration is not None else ()
    return repr((intrinsics, origin, exif, *cameras))


def _stored_state(job: Job, settings: Settings) -> str:
    """The depth that a photo's products are made from, as it is on disk."""
    if settings.stored is None:
        return ""
    try:
        file = stored_source(job.photo.path, job.photo.relative, settings.stored)
        return repr([(str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in depth_files(file)])
    except (M3dError, OSError):
        return "absent"  # its failure is reported where its work is done


def _shared_camera(shared: Shared | None) -> str:
    """The camera that the others of its folder gave a photo, without how many they were."""
    if shared is None:
        return ""
    return repr(shared.camera)


def _own_camera(photo: PhotoFile, camera: CameraSources) -> Shared:
    if photo.problem:
        return Shared(error=PhotoError(f"{photo.path}: {photo.problem}"))
    try:
        return Shared(read_camera(photo.path, camera, photo.relative))
    except M3dError as error:
        return Shared(error=error)
