"""``m3d train`` and ``m3d synth``: networks from annotated and rendered frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from m3d_cli.cli.console import Messages
from m3d_cli.cli.streams import is_talking_to_a_person, write_line


class FramesByDefault(TyperGroup):
    """``m3d synth OUT`` is ``m3d synth frames OUT``: only what is named like a command is one."""

    default = "frames"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as ever, after naming the command that was meant."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [self.default, *args]
        return list(super().parse_args(ctx, args))


synth = typer.Typer(
    cls=FramesByDefault, help="Rendered frames with exact depth and normals: m3d synth OUT.", no_args_is_help=True
)

Workers = Annotated[int, typer.Option("--workers", help="Processes that render; 0 for one per core.", min=0)]


def train(
    config: Annotated[Path, typer.Argument(help="TOML file with the run's settings.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; a run found there goes on.")],
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.", envvar="M3D_DEVICE")
    ] = "auto",
    workers: Workers = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
) -> None:
    """Train a network as CONFIG says; stopped and started again, it continues from its last checkpoint.

    On several devices or machines: torchrun --nproc-per-node 8 -m m3d_cli train CONFIG --out RUN
    """
    from tqdm import tqdm

    from m3d_cli.inference.device import choose_compute
    from m3d_cli.inference.photo import available_cores
    from m3d_cli.training.config import read_config
    from m3d_cli.training.loop import CHECKPOINT, Progress
    from m3d_cli.training.run import run_training
    from m3d_cli.training.start import starting_point

    settings = read_config(config)
    if _leads():
        Messages(quiet=quiet).say(starting_point(settings, out / CHECKPOINT))
    is_silent = quiet or not is_talking_to_a_person() or not _leads()
    with tqdm(total=settings.optimiser.steps, unit="step", disable=is_silent) as bar:

        def report(progress: Progress) -> None:
            bar.update(progress.step - bar.n)
            bar.set_postfix_str(f"loss {progress.loss:.4f}", refresh=False)
            if bar.disable:
                Messages(quiet=quiet).say(f"step {progress.step}/{progress.steps}  loss {progress.loss:.4f}")

        compute = choose_compute(device, "fp32").device
        weights = run_training(settings, out, compute, workers or available_cores(), report)
    if _leads():
        write_line(str(weights))


@synth.command("assets")
def assets(
    out: Annotated[Path, typer.Argument(help="File to write, for example data/assets.npz.")],
    folder: Annotated[
        Path | None, typer.Option("--packages", help="Folder with the extracted Debian packages; fetched without it.")
    ] = None,
) -> None:
    """Fetch the furniture, vehicle and plant models of Debian's sweethome3d packages and pack them into one file."""
    from m3d_cli.synthesis.assets_pack import fetch_assets, pack_assets

    extracted = folder or fetch_assets(out.with_suffix(".packages"))
    write_line(str(pack_assets(extracted, out)))


@synth.command("frames")
def frames(
    out: Annotated[Path, typer.Argument(help="Folder to write in the RGB-D layout.")],
    library: Annotated[
        Path | None,
        typer.Option("--assets", help="Packed models, see: m3d synth assets. Boxes, cylinders and balls without."),
    ] = None,
    count: Annotated[int, typer.Option("--count", help="Number of images.", min=1)] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the first image.", min=0)] = 0,
    width: Annotated[int, typer.Option("--width", help="Pixels.", min=32)] = 448,
    height: Annotated[int, typer.Option("--height", help="Pixels.", min=32)] = 336,
    scenes: Annotated[
        str | None, typer.Option("--scenes", help="Kinds of scene in equal shares, for example kitchen,office.")
    ] = None,
    fov: Annotated[
        tuple[float, float] | None,
        typer.Option("--fov", help="Least and largest horizontal field of view in degrees, for example 12 120."),
    ] = None,
    plain_light: Annotated[
        bool, typer.Option("--plain-light", help="With --assets: lamps of one colour and no windows.")
    ] = False,
    workers: Workers = 0,
) -> None:
    """Render images with exact depth and normals into the RGB-D layout: OUT/rgb, depth, normal and meta.json.

    A seed is one image, always the same. With --assets furnished rooms, table tops, halls and streets of true-size
    models; without, rooms, yards and table tops of simple solids, which need nothing else.
    """
    from m3d_cli.datasets.rgbd import write_rgbd
    from m3d_cli.inference.photo import available_cores
    from m3d_cli.synthesis.orders import Order, render

    order = Order(
        range(seed, seed + count),
        width,
        height,
        tuple(scenes.split(",")) if scenes else (),
        fov,
        library,
        not plain_light,
    )
    write_line(str(write_rgbd(render(order, workers or available_cores()), out).root))


def _leads() -> bool:
    return os.environ.get("RANK", "0") == "0"
