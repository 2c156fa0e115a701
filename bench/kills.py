"""Commands that write, killed at random moments and run again: the end must be that of a run nobody touched.

    python bench/kills.py --kills 100

Each kill is a SIGKILL at the n-th time that the program waits for a file to reach the disk, renames one, or changes
anything in the output folder (opens a file for writing, removes one, makes a folder); n is drawn. The same command then
runs to its end, and every file it wrote is compared with an undisturbed run byte by byte, but for journals (times).
Results go to bench/results/ as JSON; the exit code is 1 where something differs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from depth import RESULTS, commit
from kill_inputs import PUBLISHED_MODEL, plain_photos, published_checkpoint, training_config, walk

from m3d_cli import atomic
from m3d_cli.cli.app import main as main_of_m3d
from m3d_cli.models.registry import PUBLISHED, PublishedFile
from m3d_cli.models.store import sha256_of

MODEL = ("--model", "m3d-test-lite", "--device", "cpu", "-q")
MEASURED = ("--line=wide=5,20 40,20", "--allow-assumed-focal", "--allow-unknown-errors", "--report=json,html")
SYNC, RENAME, CHANGE = "sync", "rename", "change"

# Loaded once, before the programs fork off: most of a run's time is spent on it otherwise.
LOADED = ("torch", "timm", "m3d_cli.api", "m3d_cli.cli.app", "m3d_cli.training.run")
STARTER = multiprocessing.get_context("forkserver")


@dataclass(frozen=True, slots=True)
class Command:
    """What is run: its arguments for a folder of inputs and one of outputs.

    ``start`` is the folder of the inputs with what lies in the output folder before; ``journals`` are compared only
    where nothing is measured. open3d's odometry adds up in another order in every run unless it has ``one_core``.
    """

    name: str
    arguments: Callable[[Path, Path], tuple[str, ...]]
    start: str = ""
    journals: bool = False
    one_core: bool = False


COMMANDS = (
    Command(
        "depth",
        lambda data, out: ("depth", f"{data}/photos", "--out", f"{out}", "--format=png,npy,preview", *MODEL),
    ),
    Command(
        "pointcloud",
        lambda data, out: ("pointcloud", f"{data}/photos", "--out", f"{out}", "--format=ply,glb", *MODEL),
    ),
    Command(
        "panorama",
        lambda data, out: (
            *("depth", f"{data}/sphere.png", "--projection=equirectangular", "--format=png,npy"),
            *("--out", f"{out}", *MODEL),
        ),
    ),
    Command("measure", lambda data, out: ("measure", f"{data}/photos/0.png", *MEASURED, "--out", f"{out}", *MODEL)),
    Command("eval", lambda data, out: ("eval", "--data", f"{data}/frames", "--out", f"{out}", *MODEL)),
    # It refuses a folder that is there: what a killed run leaves beside it is removed by the next one.
    Command("synth", lambda data, out: ("synth", "frames", f"{out}/made", "--count=4", "--width=64", "--height=48")),
    Command(
        "train",
        lambda data, out: ("train", f"{data}/train.toml", "--out", f"{out}", "--device=cpu", "--workers=1", "-q"),
    ),
    Command(
        "reconstruct",
        lambda data, out: ("reconstruct", *posed(data), *FUSED, "--views=1", "--preview", "--out", f"{out}", *MODEL),
    ),
    Command(
        "slam odometry",
        lambda data, out: (
            *("slam", "odometry", f"{data}/walk/photos", "--depth", f"{data}/walk/depth"),
            *("--focal=130", "--map", "--voxel=0.1", "--out", f"{out}", *MODEL),
        ),
        one_core=True,
    ),
    Command("slam scale", lambda data, out: ("slam", "scale", *posed(data), "--out", f"{out}", *MODEL)),
    Command(
        "slam scale of COLMAP",
        lambda data, out: (
            *("slam", "scale", f"{data}/colmap/images", "--depth", f"{data}/colmap/depth"),
            *("--poses", f"{data}/colmap/sparse/0", "--focal=130", "--out", f"{out}", *MODEL),
        ),
    ),
    *(
        Command(
            f"slam export {kind}",
            lambda data, out, kind=kind: (
                *("slam", "export", *posed(data), "--format", kind, "--out", f"{out}"),
                *MODEL,
            ),
        )
        for kind in ("nerfstudio", "colmap")
    ),
    Command(
        "slam eval",
        lambda data, out: (
            *("slam", "eval", *(f"{data}/walk/poses.txt",) * 2, "--align=none", "--plot", f"{out}/p.png", "-q"),
        ),
    ),
    Command("compare", lambda data, out: ("compare", *(f"{data}/cloud.ply",) * 2, "--errors", f"{out}/e.ply", "-q")),
    Command(
        "video",
        lambda data, out: ("video", f"{data}/clip.mp4", "--filter=0.5", "--npz", "--out", f"{out}", *MODEL),
    ),
    Command("export", lambda data, out: ("export", "onnx", "--model=m3d-test-lite", "--out", f"{out}/a.onnx", "-q")),
    Command("weights import", lambda data, out: ("weights", "import", f"{data}/tiny.pth", "-q")),
    Command("weights import over others", lambda data, out: ("weights", "import", f"{data}/tiny.pth", "-q"), "cache"),
    Command("merge", lambda data, out: ("merge", f"{out}"), "shards", journals=True),
)
FUSED = ("--voxel=0.1", "--max-depth=50")


def posed(data: Path) -> tuple[str, ...]:
    """Photos with poses and a focal length."""
    return (f"{data}/walk/photos", "--poses", f"{data}/walk/poses.txt", "--focal=130")


def inputs(folder: Path) -> None:
    """Photos, a walk with depth and poses, a clip, rendered frames, weights, and what earlier runs left."""
    plain_photos(folder)
    published_checkpoint(folder / "tiny.pth", 0)
    published_checkpoint(folder / "other.pth", 1)
    walk(folder / "walk", folder / "clip.mp4")
    training_config(folder / "train.toml", folder / "sources")
    frames = ("--count=4", "--width=64", "--height=48")
    exact = ("--depth", f"{folder}/walk/depth")
    for arguments in (
        ("synth", "frames", f"{folder}/frames", *frames),
        *(("synth", "frames", f"{folder}/sources/{name}", *frames) for name in ("a", "b")),
        ("weights", "import", f"{folder}/other.pth", "--name", PUBLISHED_MODEL, "-q"),
        ("slam", "export", *posed(folder), *exact, "--format=colmap-binary", "--out", f"{folder}/colmap", *MODEL),
        ("reconstruct", *posed(folder), *exact, *FUSED, "--out", f"{folder}/fused", *MODEL),
        *(("depth", f"{folder}/photos", "--shard", f"{n}/2", "--out", f"{folder}/shards", *MODEL) for n in (1, 2)),
    ):
        run(arguments, folder, folder / "cache")
    shutil.copyfile(folder / "fused" / "cloud.ply", folder / "cloud.ply")


def program(kind: str, last: int, out: Path, data: Path, arguments: tuple[str, ...], *, one_core: bool) -> None:
    """The program, in a process of its own: it kills itself before the ``last``-th file is synced, after so many were
    renamed, or before so many changes below ``out``. It takes a checkpoint of the tiny network for a published one.
    """
    calls, starter, checkpoint = itertools.count(1), os.getpid(), data / "tiny.pth"
    if one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["M3D_CACHE"] = str(out)
    log = os.open(data / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def counted() -> None:
        if os.getpid() == starter and next(calls) == last:
            os.kill(starter, signal.SIGKILL)

    def watched(event: str, facts: tuple[object, ...]) -> None:
        is_change = event in ("os.remove", "os.mkdir", "os.rmdir", "os.rename", "os.truncate")
        is_change |= event == "open" and bool(facts[2] & (os.O_WRONLY | os.O_RDWR))
        if is_change and isinstance(facts[0], str | Path) and str(facts[0]).startswith(str(out)):
            counted()

    if kind == SYNC:
        sync = atomic.sync
        atomic.sync = lambda path: (counted(), sync(path))
    elif kind == RENAME:
        replace = os.replace
        os.replace = lambda *names: (replace(*names), counted())
    else:
        sys.addaudithook(watched)
    facts = (PUBLISHED_MODEL, checkpoint.name, checkpoint.stat().st_size, sha256_of(checkpoint))
    PUBLISHED[PUBLISHED_MODEL] = PublishedFile(*facts)
    code = main_of_m3d(list(arguments))
    (data / "calls.txt").write_text(str(next(calls) - 1))
    sys.exit(code)


def run(
    arguments: tuple[str, ...], data: Path, out: Path, kind: str = SYNC, last: int = 0, *, one_core: bool = False
) -> tuple[int, int]:
    """Exit code of the program, and how often it would have come to the place where it can be killed."""
    (data / "calls.txt").write_text("0")
    started = STARTER.Process(
        target=program, args=(kind, last, out, data, arguments), kwargs={"one_core": one_core}, daemon=False
    )
    started.start()
    started.join()
    if started.exitcode not in (0, -signal.SIGKILL):
        said = (data / "log.txt").read_text()
        raise SystemExit(f"{' '.join(arguments)} ended with {started.exitcode}: {said}")
    return started.exitcode, int((data / "calls.txt").read_text())


def contents(out: Path, *, journals: bool) -> dict[str, bytes]:
    """All files, but journals unless they are wanted."""
    apart = (".lock",) if journals else (".jsonl", ".lock")
    files = (path for path in out.rglob("*") if path.is_file() and path.suffix not in apart)
    return {path.relative_to(out).as_posix(): content_of(path) for path in files}


def content_of(path: Path) -> bytes:
    """The bytes of a file; of a checkpoint of torch those of its tensors, since pickles tell equal strings apart."""
    if path.suffix != ".pt":
        return path.read_bytes()
    return b"".join(plain(torch.load(path, weights_only=True)))


def plain(content: object) -> Iterator[bytes]:
    """Values at any depth, each behind its place."""
    if isinstance(content, dict):
        content = list(content.items())
    if isinstance(content, list | tuple):
        for place, value in enumerate(content):
            yield f"[{place}]".encode()
            yield from plain(value)
    elif isinstance(content, torch.Tensor):
        yield f"{content.dtype} {tuple(content.shape)}".encode() + content.numpy().tobytes()
    else:
        yield repr(content).encode()


def begun(command: Command, data: Path, out: Path) -> None:
    """Make the output folder as it is before the command runs."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if command.start:
        shutil.copytree(data / command.start, out, dirs_exist_ok=True)


def killed(command: Command, data: Path, out: Path, expected: dict[str, bytes], kind: str, last: int) -> str:
    """Kill one run and finish it; what differs from the ``expected`` files, "" for nothing."""
    begun(command, data, out)
    code, _ = run(command.arguments(data, out), data, out, kind, last, one_core=command.one_core)
    if code != -signal.SIGKILL:
        return "it was not killed"
    if not (out / "made").exists():
        run(command.arguments(data, out), data, out, one_core=command.one_core)
    found = contents(out, journals=command.journals)
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return ", ".join(wrong)


def undisturbed(command: Command, data: Path, out: Path) -> tuple[dict[str, bytes], dict[str, int]]:
    """The files of a run, the same in three runs, and how often it can be killed in each way."""
    places, found = {}, []
    for kind in (SYNC, RENAME, CHANGE):
        begun(command, data, out)
        places[kind] = run(command.arguments(data, out), data, out, kind, one_core=command.one_core)[1]
        found.append(contents(out, journals=command.journals))
    if found[0] != found[1] or found[0] != found[2]:
        names = sorted(name for name in found[0] if any(found[0][name] != one.get(name) for one in found[1:]))
        raise SystemExit(f"{command.name}: two undisturbed runs differ: {', '.join(names)}")
    return found[0], places


def main() -> None:
    """Kill, compare, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default="", help="those whose names contain one of these words, by commas")
    options = parser.parse_args()
    words = options.commands.split(",")
    commands = [command for command in COMMANDS if any(word in command.name for word in words)]
    STARTER.set_forkserver_preload(list(LOADED))
    draw, counts, kinds, faults = np.random.default_rng(options.seed), Counter[str](), Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data", Path(folder) / "out"
        data.mkdir()
        inputs(data)
        known = {command.name: undisturbed(command, data, out) for command in commands}
        for number in range(options.kills):
            command = commands[number % len(commands)]
            expected, places = known[command.name]
            kind = str(draw.choice([name for name, count in places.items() if count]))
            last = int(draw.integers(1, places[kind] + 1))
            wrong = killed(command, data, out, expected, kind, last)
            counts[command.name] += 1
            kinds[kind] += 1
            if wrong:
                faults.append({"command": command.name, "kind": kind, "call": last, "differs": wrong})
            print(f"{number + 1} {command.name} {kind} {last}: {wrong or 'equal'}", file=sys.stderr)
    result = {
        "kills": dict(counts),
        "kinds": dict(kinds),
        "faults": faults,
        "seed": options.seed,
        "commit": commit(),
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    print(json.dumps(result, indent=2))
    if not options.commands:
        (RESULTS / "kills.json").write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
