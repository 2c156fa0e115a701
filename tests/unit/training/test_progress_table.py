"""Tables of a run that was stopped and continued: each step once."""

from pathlib import Path

from m3d_cli.training.progress_table import append_row, drop_rows_after


def test_rows_after_the_checkpoint_are_dropped_and_come_again_once(tmp_path: Path) -> None:
    table = tmp_path / "log.csv"
    for step in range(1, 6):
        append_row(table, {"step": step, "total": 0.5})
    drop_rows_after(table, 3)
    for step in range(4, 7):
        append_row(table, {"step": step, "total": 0.25})
    assert [line.split(",")[0] for line in table.read_text().splitlines()] == ["step", "1", "2", "3", "4", "5", "6"]


def test_a_row_cut_by_a_kill_goes_too(tmp_path: Path) -> None:
    table = tmp_path / "log.csv"
    table.write_text("step,total\n1,0.5\n2,0.")
    drop_rows_after(table, 2)
    assert table.read_text() == "step,total\n1,0.5\n"


def test_a_run_that_starts_anew_keeps_only_the_header(tmp_path: Path) -> None:
    table = tmp_path / "log.csv"
    table.write_text("step,total\n1,0.5\n2,0.5\n")
    drop_rows_after(table, 0)
    assert table.read_text() == "step,total\n"
    drop_rows_after(tmp_path / "absent.csv", 0)
    assert not (tmp_path / "absent.csv").exists()


def test_a_header_cut_by_a_kill_is_written_again(tmp_path: Path) -> None:
    for torn in ("", "step,to"):
        table = tmp_path / "log.csv"
        table.write_text(torn)
        drop_rows_after(table, 0)
        append_row(table, {"step": 1, "total": 0.5})
        assert table.read_text().splitlines() == ["step,total", "1,0.50000"]
