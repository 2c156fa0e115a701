"""``m3d depth --dry-run``: what a run would do with each photo, and the focal length it would use. Loads no network."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from m3d_cli.cli.console import Messages
from m3d_cli.cli.streams import one_line, write_line
from m3d_cli.errors import M3dError

if TYPE_CHECKING:
    from m3d_cli.camera import Camera
    from m3d_cli.pipeline.resume import Task
    from m3d_cli.pipeline.run_plan import RunPlan
    from m3d_cli.pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class _Prospect:
    """A photo, its focal length or the error in its way, and what a run would do: ``todo``, ``done`` or ``error``.

    ``estimates``: a run would estimate the focal length from the image, which takes the pixels.
    """

    task: Task
    status: str
    camera: Camera | None = None
    error: M3dError | None = None
    estimates: bool = False


def show_plan(plan: RunPlan, messages: Messages, *, as_json: bool) -> None:
    """One line per photo on standard output; exits with the code of the run, as far as headers predict it."""
    from m3d_cli.pipeline.journal import Journal
    from m3d_cli.pipeline.resume import tasks
    from m3d_cli.pipeline.tally import exit_code_of

    found: Counter[str] = Counter()
    errors: list[M3dError] = []
    journal = Journal.peek(plan.folder)
    for task in tasks(plan.jobs, plan.settings, journal, plan.shared_focal(), overwrite=plan.overwrite):
        prospect = _prospect(task, plan.settings)
        found[prospect.status] += 1
        write_line(_json(prospect) if as_json else _text(prospect))
        if prospect.error is not None:
            errors.append(prospect.error)
            messages.error(str(prospect.error))
    words = {"todo": "to do", "done": "already done", "error": "not possible"}
    counts = ", ".join(f"{found[status]} {word}" for status, word in words.items() if found[status])
    messages.say(f"{len(plan.jobs)} photo{'' if len(plan.jobs) == 1 else 's'}: {counts}; nothing was written")
    if errors:
        raise typer.Exit(exit_code_of(error.exit_code for error in errors))


def _prospect(task: Task, settings: Settings) -> _Prospect:
    from m3d_cli.pipeline.resume import camera_of

    try:
        camera = camera_of(task.job.photo, task.shared, settings.camera)
    except M3dError as error:
        return _Prospect(task, "error", error=error)
    asks = settings.estimates_focal(camera, is_shared=task.shared is not None)
    return _Prospect(task, "todo" if task.earlier is None else "done", camera, estimates=asks)


def _text(prospect: _Prospect) -> str:
    path = one_line(str(prospect.task.job.photo.path))
    if prospect.camera is None:
        reason = prospect.error.message if prospect.error else "unknown"
        return f"error  {path}  {one_line(reason)}"
    focal = prospect.camera
    outputs = " ".join(one_line(str(output)) for output in prospect.task.job.outputs)
    told = f"{focal.focal:.1f} px {focal.focal_source} +- {focal.focal_rel_sigma:.1%}"
    if prospect.estimates:
        told = "focal length estimated from the image"
    return f"{prospect.status:5}  {path} -> {outputs}  {told}"


def _json(prospect: _Prospect) -> str:
    job = prospect.task.job
    fields: dict[str, object] = {"path": str(job.photo.path), "status": prospect.status}
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
        }
    if prospect.error is not None:
        error = prospect.error
        fields["error"] = {"code": error.code, "message": error.message, "hint": error.hint}
    return json.dumps(fields)
