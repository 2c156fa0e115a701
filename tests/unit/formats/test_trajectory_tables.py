"""Tables of poses: what their first column is, repeated times, EuRoC's columns and finer units than seconds."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from m3d_cli.errors import PoseError
from m3d_cli.formats.trajectories import read_trajectory
from m3d_cli.formats.trajectory_tables import encode_tum
from m3d_cli.trajectory import Keys, Trajectory

EUROC_HEADER = (
    "#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z [], "
    "v_RS_R_x [m s^-1], v_RS_R_y [m s^-1], v_RS_R_z [m s^-1], b_w_RS_S_x, b_w_RS_S_y, b_w_RS_S_z, b_a_RS_S_x, "
    "b_a_RS_S_y, b_a_RS_S_z\n"
)


def walk(*times: float) -> Trajectory:
    poses = np.tile(np.eye(4), (len(times), 1, 1))
    poses[:, 0, 3] = np.arange(len(times))
    return Trajectory(np.array(times), poses)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_table_keeps_what_its_first_column_is_and_its_names(tmp_path: Path) -> None:
    path = tmp_path / "track.txt"
    whole_seconds = walk(0, 1, 2)
    frames = dataclasses.replace(whole_seconds, keys=Keys.INDICES, names=("a b.1", "d/b", "c\udcff"))
    for trajectory in (whole_seconds, frames):
        path.write_bytes(encode_tum(trajectory))
        found = read_trajectory(path)
        assert found.keys is trajectory.keys
        assert found.names == trajectory.names
        assert found.times.tolist() == [0, 1, 2]
        assert found.remarks == ()


def test_numpy_reads_the_table_past_its_comments(tmp_path: Path) -> None:
    path = tmp_path / "track.txt"
    path.write_bytes(encode_tum(dataclasses.replace(walk(0.5, 1.5), names=("a", "b"))))
    assert np.loadtxt(path).shape == (2, 8)


def test_a_table_of_older_versions_that_counts_frames_has_frame_numbers(tmp_path: Path) -> None:
    text = "# times count the frames\n0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n"
    assert read_trajectory(written(tmp_path / "a.txt", text)).keys is Keys.INDICES


def test_whole_numbers_are_frame_numbers_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    rows = "0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n3 0 0 0 0 0 0 1\n"
    found = read_trajectory(written(tmp_path / "a.txt", rows))
    assert found.keys is Keys.INDICES
    assert "'# keys: times' makes them seconds" in found.remarks[0]
    assert read_trajectory(written(tmp_path / "b.txt", f"# keys: times\n{rows}")).keys is Keys.TIMES


def test_repeated_times_are_left_out_with_a_count(tmp_path: Path) -> None:
    rows = [f"{time} {place} 0 0 0 0 0 1" for time, place in ((1.5, 0), (1.6, 1), (1.6, 2), (1.6, 3), (1.7, 4))]
    found = read_trajectory(written(tmp_path / "a.txt", "\n".join(rows)))
    assert found.times.tolist() == [1.5, 1.6, 1.7]
    assert found.positions[:, 0].tolist() == [0, 1, 4]
    assert found.remarks == ("2 of 5 poses repeat the time before and are left out",)


def test_times_that_go_back_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "1.5 0 0 0 0 0 0 1\n1.4 0 0 0 0 0 0 1\n")
    with pytest.raises(PoseError, match="times must ascend"):
        read_trajectory(path)


def test_euroc_has_nanoseconds_and_the_scalar_first(tmp_path: Path) -> None:
    rest = ",0" * 9
    quarter = 0.5**0.5
    rows = (
        f"1403636580838555648,4.688,-1.786,0.783,{quarter},0,0,{quarter}{rest}\n"
        f"1403636580843555328,4.689,-1.787,0.787,1,0,0,0{rest}\n"
    )
    found = read_trajectory(written(tmp_path / "data.csv", EUROC_HEADER + rows))
    np.testing.assert_allclose(found.times, [1403636580.838555648, 1403636580.843555328], atol=1e-6)
    # A quarter turn about z takes x to y.
    np.testing.assert_allclose(found.poses[0, :3, 0], [0, 1, 0], atol=1e-12)
    assert found.positions[0].tolist() == [4.688, -1.786, 0.783]
    assert found.timed
    assert any("of the body (IMU)" in remark for remark in found.remarks)


def test_eight_columns_with_euroc_names_have_the_scalar_first(tmp_path: Path) -> None:
    text = "#timestamp [ns],p_RS_R_x [m],p_RS_R_y [m],p_RS_R_z [m],q_RS_w [],q_RS_x [],q_RS_y [],q_RS_z []\n"
    found = read_trajectory(written(tmp_path / "data.csv", f"{text}1403636580838555648,1,2,3,1,0,0,0\n"))
    np.testing.assert_array_equal(found.poses[0, :3, :3], np.eye(3))


@pytest.mark.parametrize(
    ("times", "unit", "expected"),
    [
        ((1403636580838555648, 1403636580938555648), "nanoseconds", 1403636580.838555648),
        ((1403636580838555, 1403636580938555), "microseconds", 1403636580.838555),
        ((1403636580838, 1403636580938), "milliseconds", 1403636580.838),
        ((0, 100000000), "nanoseconds", 0),
    ],
)
def test_finer_units_become_seconds(tmp_path: Path, times: tuple[int, int], unit: str, expected: float) -> None:
    text = "".join(f"{time} 0 0 0 0 0 0 1\n" for time in times)
    found = read_trajectory(written(tmp_path / "a.txt", text))
    assert found.timed
    assert found.times[0] == pytest.approx(expected, abs=1e-6)
    assert np.diff(found.times)[0] == pytest.approx(0.1, abs=1e-5)
    assert found.remarks == (f"times are taken as {unit}",)
