"""The focal length of each photo with its origin, as `m3d exif` lists it, from headers or also from the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from m3d_cli.camera import Camera, FocalCandidate
from m3d_cli.errors import M3dError, PhotoError
from m3d_cli.intrinsics.estimated import candidate_of, contradiction, estimated_from_image
from m3d_cli.intrinsics.shared_focal import consensus
from m3d_cli.photos.decode import focal_copy
from m3d_cli.photos.discover import Listing, PhotoFile
from m3d_cli.photos.load import CameraSources, PhotoFacts, focal_required, read_facts


@dataclass(frozen=True, slots=True)
class CameraRow:
    """One photo and its facts, or the error that ended it; ``from_image`` is the estimate from the image."""

    photo: PhotoFile
    facts: PhotoFacts | None
    camera: Camera | None
    error: M3dError | None = None
    from_image: FocalCandidate | None = None

    @property
    def will_be_estimated(self) -> bool:
        """Whether a run looks at the image for what is only assumed here."""
        return self.camera is not None and self.camera.is_assumed and self.from_image is None


def camera_rows(listing: Listing, sources: CameraSources) -> Iterator[CameraRow]:
    """Headers of all photos, each with its focal length or its error."""
    for photo in listing.photos:
        try:
            if photo.problem:
                raise PhotoError(f"{photo.path}: {photo.problem}")
            facts = read_facts(photo.path, sources, photo.relative)
        except M3dError as error:
            yield CameraRow(photo, None, None, error)
        else:
            yield CameraRow(photo, facts, facts.camera)


def with_estimates(rows: Iterator[CameraRow]) -> Iterator[CameraRow]:
    """Rows with the focal length estimated from each image, which is used where nothing else gives one."""
    from m3d_cli.inference.device import choose_compute
    from m3d_cli.inference.picture_focal import PictureFocal

    estimator = PictureFocal.bundled(choose_compute("cpu", "fp32").device)
    for row in rows:
        found = row.camera
        if found is None:
            yield row
            continue
        try:
            image = focal_copy(row.photo.path)
        except M3dError as error:
            yield replace(row, camera=None, error=error)
            continue
        opinion = estimator.opinion(image, found.width, found.height)
        warning = contradiction(found, opinion)
        camera = (
            estimated_from_image(found, opinion) if found.is_assumed else found.with_warnings(*filter(None, [warning]))
        )
        yield replace(row, camera=camera, from_image=candidate_of(found, opinion))


def with_consensus(rows: list[CameraRow]) -> Iterator[CameraRow]:
    """Rows with the common focal length of one camera."""
    shared = iter(consensus([row.camera for row in rows if row.camera is not None]))
    for row in rows:
        yield row if row.camera is None else replace(row, camera=next(shared))


def requiring_focal(row: CameraRow) -> CameraRow:
    """The row, as an error where its focal length is assumed."""
    if row.camera is None or not row.camera.is_assumed:
        return row
    return replace(row, camera=None, error=focal_required(row.photo.path))
