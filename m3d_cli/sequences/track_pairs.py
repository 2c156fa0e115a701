"""Two files of one walk, read and paired, with what a person should be warned of."""

from __future__ import annotations

from pathlib import Path

from m3d_cli.formats.trajectories import read_trajectory
from m3d_cli.reporter import Reporter
from m3d_cli.trajectory import Trajectory
from m3d_cli.trajectory_pairs import associate

# Fewer poses of the shorter file than this share in pairs: the two are hardly of one clock.
EXPECTED_SHARE = 0.8


def paired(estimate: Path, truth: Path, tolerance: float, report: Reporter) -> tuple[Trajectory, Trajectory]:
    """The poses of both files that belong together; raises PoseError."""
    mine, theirs = read_trajectory(estimate), read_trajectory(truth)
    for file, trajectory in ((estimate, mine), (truth, theirs)):
        for remark in trajectory.remarks:
            report.warn(f"{file}: {remark}")
    left, right = associate(mine, theirs, tolerance)
    shorter = min(len(mine), len(theirs))
    report.say(f"{len(left)} poses matched of {len(mine)} and {len(theirs)}")
    if len(left) < EXPECTED_SHARE * shorter:
        report.warn(f"only {len(left)} of {shorter} poses have a partner: are both times of one clock?")
    return left, right
