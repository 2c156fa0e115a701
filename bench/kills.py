"""Commands that write, killed at random moments and run again: the end must be that of a run nobody touched.

    python bench/kills.py --kills 100

Each kill is a SIGKILL at the n-th time that the program waits for a file to reach the disk, or renames one; n is drawn.
The same command then runs to its end, and every file it wrote is compared with an undisturbed run byte by byte, but for
journals (times). Results go to bench/results/ as JSON; the exit code is 1 where something differs.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from depth import RESULTS, commit, environment

MODEL = ("--model", "m3d-test-lite", "--device", "cpu", "-q")
MEASURED = ("--line=wide=5,20 40,20", "--allow-assumed-focal", "--allow-unknown-errors", "--report=json,html")
SYNC, RENAME = "sync", "rename"

# The program, which kills itself before the n-th file is synced or after the n-th was renamed.
KILLED = """
import itertools, os, signal, sys
from m3d_cli import atomic
from m3d_cli.cli.app import main
kind, last, calls = sys.argv[1], int(sys.argv[2]), itertools.count(1)
place, name = (atomic, "sync") if kind == "sync" else (os, "replace")
real = getattr(place, name)
def counting(*arguments):
    mine = next(calls)
    result = None if mine == last and kind == "sync" else real(*arguments)
    if mine == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(place, name, counting)
code = main(sys.argv[3:])
print(next(calls) - 1)
sys.exit(code)
"""


@dataclass(frozen=True, slots=True)
class Command:
    """What is run: its arguments for a folder of inputs and one of outputs."""

    name: str
    arguments: Callable[[Path, Path], tuple[str, ...]]


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
)


def inputs(folder: Path) -> None:
    """Small photos, one of a whole sphere, and rendered frames."""
    rng = np.random.default_rng(1)
    (folder / "photos").mkdir()
    for index in range(6):
        cv2.imwrite(f"{folder}/photos/{index}.png", rng.integers(0, 255, (40 + index, 56, 3), dtype=np.uint8))
    cv2.imwrite(f"{folder}/sphere.png", rng.integers(0, 255, (40, 80, 3), dtype=np.uint8))
    run(("synth", "frames", f"{folder}/frames", "--count=4", "--width=64", "--height=48"))


def run(arguments: tuple[str, ...], kind: str = SYNC, last: int = 0) -> tuple[int, int]:
    """Exit code of the program, and how often it would have come to the place where it can be killed."""
    command = [sys.executable, "-c", KILLED, kind, str(last), *arguments]
    done = subprocess.run(command, capture_output=True, check=False, env=environment(), text=True)
    if done.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    calls = done.stdout.split()
    return done.returncode, int(calls[-1]) if calls and calls[-1].isdigit() else 0


def contents(out: Path) -> dict[str, bytes]:
    """All files but journals."""
    files = (path for path in out.rglob("*") if path.is_file() and path.suffix not in (".jsonl", ".lock"))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def killed(command: Command, data: Path, work: Path, expected: dict[str, bytes], kind: str, last: int) -> str:
    """Kill one run and finish it; what differs from the ``expected`` files, "" for nothing."""
    out = work / "killed" / "out"
    shutil.rmtree(out.parent, ignore_errors=True)
    out.mkdir(parents=True)
    code, _ = run(command.arguments(data, out), kind, last)
    if code != -signal.SIGKILL:
        return "it was not killed"
    if not (out / "made").exists():
        run(command.arguments(data, out))
    found = contents(out)
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return ", ".join(wrong)


def main() -> None:
    """Kill, compare, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, counts, faults = np.random.default_rng(options.seed), Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        data, work = Path(folder) / "data", Path(folder) / "work"
        data.mkdir()
        inputs(data)
        known = {}
        for command in COMMANDS:
            out = work / command.name / "out"
            out.mkdir(parents=True)
            places = {SYNC: run(command.arguments(data, out))[1]}
            known[command.name] = (contents(out), places)
            shutil.rmtree(out)
            out.mkdir()
            places[RENAME] = run(command.arguments(data, out), RENAME)[1]
        for number in range(options.kills):
            command = COMMANDS[number % len(COMMANDS)]
            expected, places = known[command.name]
            kind = draw.choice([name for name, count in places.items() if count])
            last = int(draw.integers(1, places[kind] + 1))
            wrong = killed(command, data, work, expected, kind, last)
            counts[command.name] += 1
            if wrong:
                faults.append({"command": command.name, "kind": kind, "call": last, "differs": wrong})
            print(f"{number + 1} {command.name} {kind} {last}: {wrong or 'equal'}", file=sys.stderr)
    result = {
        "kills": dict(counts),
        "faults": faults,
        "seed": options.seed,
        "commit": commit(),
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    print(json.dumps(result, indent=2))
    (RESULTS / "kills.json").write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
