"""What a run would do with each photo, and the focal length it would use: the dry run. Loads no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from m3d_cli.camera import Camera
from m3d_cli.errors import M3dError
from m3d_cli.photo_names import one_line
from m3d_cli.pipeline.journal import Journal
from m3d_cli.pipeline.resume import Task, camera_of, tasks
from m3d_cli.pipeline.run_plan import RunPlan
from m3d_cli.pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Prospect:
    """A photo, its focal length or the error in its way, and what a run would do: ``todo``, ``done`` or ``error``.

    Where the photo is not flat, ``projection`` says what it is instead of a ``camera``.

    ``estimates``: a run would estimate the focal length from the image, which takes the pixels.
    """

    task: Task
    status: str
    camera: Camera | None = None
    error: M3dError | None = None
    estimates: bool = False
    projection: str = ""


def prospects(plan: RunPlan) -> Iterator[Prospect]:
    """What a run would do with each photo, as far as headers show it; nothing is written."""
    journal = Journal.peek(plan.folder)
    for task in tasks(plan.jobs, plan.settings, journal, plan.shared_focal(), overwrite=plan.overwrite):
        yield _prospect(task, plan.settings)


def _prospect(task: Task, settings: Settings) -> Prospect:
    status = "todo" if task.earlier is None else "done"
    if settings.camera.projection is not None:
        return Prospect(task, status, projection=str(settings.camera.projection.kind))
    try:
        camera = camera_of(task.job.photo, task.shared, settings.camera)
    except M3dError as error:
        return Prospect(task, "error", error=error)
    asks = settings.estimates_focal(camera, is_shared=task.shared is not None)
    return Prospect(task, status, camera, estimates=asks)


def text_of(prospect: Prospect) -> str:
    """One line for people."""
    path = one_line(str(prospect.task.job.photo.path))
    outputs = " ".join(one_line(str(output)) for output in prospect.task.job.outputs)
    if prospect.projection:
        return f"{prospect.status:5}  {path} -> {outputs}  {prospect.projection}"
    if prospect.camera is None:
        reason = prospect.error.message if prospect.error else "unknown"
        return f"error  {path}  {one_line(reason)}"
    focal = prospect.camera
    told = f"{focal.focal:.1f} px {focal.focal_source} +- {focal.focal_rel_sigma:.1%}"
    if prospect.estimates:
        told = "focal length will be estimated from the image"
    return f"{prospect.status:5}  {path} -> {outputs}  {told}"


def json_of(prospect: Prospect) -> str:
    """One JSON object."""
    job = prospect.task.job
    fields: dict[str, object] = {"path": str(job.photo.path), "status": prospect.status}
    if prospect.projection:
        fields |= {"outputs": [str(output) for output in job.outputs], "projection": prospect.projection}
    if prospect.camera is not None:
        focal = prospect.camera
        fields |= {
            "outputs": [str(output) for output in job.outputs],
            "width": focal.width,
            "height": focal.height,
            "focal_px": focal.focal,
            "focal_source": str(focal.focal_source),
            "focal_rel_sigma": focal.focal_rel_sigma,
            "asks_picture": prospect.estimates,
            "will_be_estimated": prospect.estimates,
        }
    if prospect.error is not None:
        error = prospect.error
        fields["error"] = {"code": error.code, "message": error.message, "hint": error.hint}
    return json.dumps(fields)
