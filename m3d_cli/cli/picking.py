"""``m3d measure PHOTO --pick``: a page in the browser on which a person points at what to measure."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from m3d_cli.cli.console import Talk, write_line
from m3d_cli.errors import PhotoError, UsageError

if TYPE_CHECKING:
    from m3d_cli.cli.measuring import MeasureOrder

# Where the files go when nobody says.
USUAL_OUT = Path("measured")


def pick_points(order: MeasureOrder, talk: Talk, *, opens_browser: bool) -> None:
    """Serve the page until Ctrl-C; its address goes to standard output."""
    from m3d_cli.batch.measure_run import plan_measuring
    from m3d_cli.batch.measuring import look
    from m3d_cli.batch.picking import pick_service
    from m3d_cli.batch.tasks import Task
    from m3d_cli.cli.measuring import shared_engine
    from m3d_cli.measure.pick_server import PickServer

    if len(order.photos) != 1:
        raise UsageError(f"--pick takes one photo, not {len(order.photos)}", hint="name one photo")
    (job,) = plan_measuring(order.photos, order.out or USUAL_OUT)
    if job.photo.problem:
        raise PhotoError(f"{job.photo.path}: {job.photo.problem}")
    talk.say(f"{job.photo.path}: working out its depth ...")
    with closing(shared_engine(order, 1)) as engine:
        sight = look(Task(job, ""), order.settings, engine, whole=True)
    service = pick_service(job, sight, order.own, order.unit, allow_assumed_focal=order.allow_assumed_focal)
    with PickServer(service) as server:
        write_line(server.address)
        talk.say(f"pick points there; Save writes into {job.report.parent}/; Ctrl-C ends")
        if opens_browser:
            import webbrowser

            webbrowser.open(server.address)
        with suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.2)
