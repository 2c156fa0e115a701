"""``m3d measure PHOTO --pick``: a page in the browser on which a person points at what to measure."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from m3d_cli.cli.console import Talk, write_line
from m3d_cli.errors import PhotoError, UsageError

if TYPE_CHECKING:
    from m3d_cli.cli.measuring import MeasureOrder
    from m3d_cli.pipeline.measure_photo import MeasureJob, Sight
    from m3d_cli.pipeline.pick_page import PickStart

# Where the files go when nobody says.
USUAL_OUT = Path("measured")


def pick_points(order: MeasureOrder, talk: Talk, *, opens_browser: bool) -> None:
    """Serve the page until Ctrl-C; its address goes to standard output."""
    from m3d_cli.metrology.pick.server import PickServer
    from m3d_cli.pipeline.pick_page import Picker, pick_start

    job = _checked_job(order)
    start = pick_start(job, order.own, order.specs, order.unit)
    _tell_start(start, job, talk)
    sight = _seen(order, job, talk)
    picker = Picker(job, sight, order.settings, start, order.formats, overwrite=order.overwrite)
    with PickServer(picker.service(order.unit)) as server:
        write_line(server.address)
        talk.say(f"pick points there; Save writes into {job.report.parent}/; Ctrl-C ends")
        if opens_browser:
            import webbrowser

            webbrowser.open(server.address)
        with suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.2)


def _checked_job(order: MeasureOrder) -> MeasureJob:
    """The one photo and its files; raises UsageError for what does not go with the page."""
    from m3d_cli.pipeline.measure_run import plan_measuring

    if len(order.photos) != 1:
        raise UsageError(f"--pick takes one photo, not {len(order.photos)}", hint="name one photo")
    if order.same_camera:
        raise UsageError(
            "--same-camera looks at many photos and --pick takes one",
            hint="m3d exif PHOTOS --same-camera tells the focal length; give it with --focal",
        )
    (job,) = plan_measuring(order.photos, order.out or USUAL_OUT)
    if job.photo.problem:
        raise PhotoError(f"{job.photo.path}: {job.photo.problem}")
    return job


def _tell_start(start: PickStart, job: MeasureJob, talk: Talk) -> None:
    for path in start.sources:
        talk.say(f"{job.photo.path}: goes on with {path}")
    for one in start.not_shown:
        error = one.refusal.error
        talk.warn(f"{job.photo.path}: left out: {error.message}")


def _seen(order: MeasureOrder, job: MeasureJob, talk: Talk) -> Sight:
    """The photo with its depth."""
    from m3d_cli.cli.measuring import shared_engine
    from m3d_cli.pipeline.measure_photo import look
    from m3d_cli.pipeline.resume import Task

    talk.say(f"{job.photo.path}: working out its depth ...")
    with closing(shared_engine(order, 1)) as engine:
        return look(Task(job, ""), order.settings, engine, whole=True)
