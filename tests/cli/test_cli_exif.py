"""``m3d exif`` through three doors: the function, ``main()`` in this process, and a real program."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from m3d_cli.cli import app
from m3d_cli.errors import WeightsError
from m3d_cli.version import __version__

PHOTOS = Path(__file__).parents[1] / "data" / "photos"
M3D = [sys.executable, "-m", "m3d_cli"]


def run(*arguments, **options):
    return subprocess.run([*M3D, *map(str, arguments)], capture_output=True, check=False, timeout=60, **options)


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_folder_of_photos_gives_a_table_and_a_summary(capsys):
    assert app.main(["exif", "-r", str(PHOTOS)]) == 0
    output = capsys.readouterr()
    table = output.out.splitlines()
    assert len(table) == 8
    assert table[0].split() == ["photo", "size", "camera", "focal_px", "source", "sigma", "hfov", "derivation"]
    assert "24 mm equivalent over the diagonal" in output.out
    assert output.err.splitlines() == [
        "warning: focal length assumed for 1 of 7 photos: lengths may be off by 25 %",
        "7 photos: 4 exif-35mm, 1 sensor-table, 1 assumed, 1 exif-focal-plane",
    ]


def test_json_lines_carry_everything(capsys):
    assert app.main(["exif", "--json", str(PHOTOS / "palace.jpg")]) == 0
    (row,) = lines(capsys)
    assert row["path"] == str(PHOTOS / "palace.jpg")
    assert (row["width"], row["height"], row["status"]) == (640, 427, "ok")
    assert row["focal_px"] == pytest.approx(24 / 43.2666 * 769.37, rel=1e-4)
    assert row["focal_source"] == "exif-35mm"
    assert row["hfov"] == pytest.approx(73.7, abs=0.1)
    assert row["candidates"][0]["source"] == "exif-35mm"
    assert row["warnings"] == []


def test_the_text_table_does_not_depend_on_a_terminal(capsys):
    app.main(["exif", "-q", str(PHOTOS / "palace.jpg")])
    assert "\x1b" not in capsys.readouterr().out


def test_one_bad_photo_does_not_stop_the_rest(capsys, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff")
    assert app.main(["exif", "--json", str(bad), "none.jpg", str(PHOTOS / "palace.jpg")]) == 3
    rows = lines(capsys)
    assert [row["status"] for row in rows] == ["error", "error", "ok"]
    assert rows[0]["error"]["code"] == "BAD_PHOTO"
    assert "no such file" in rows[1]["error"]["message"]


def test_a_lens_that_cannot_be_straightened_fails_its_photo(capsys, tmp_path):
    calibration = tmp_path / "k.json"
    lens = {"model": "fisheye", "coefficients": [0, 0, 0, 1e-9]}
    calibration.write_text(json.dumps({"fx": 160, "width": 640, "height": 427, "distortion": lens}), encoding="utf-8")
    palace = str(PHOTOS / "palace.jpg")
    assert app.main(["exif", "--json", "--intrinsics", str(calibration), palace]) == 3
    (row,) = lines(capsys)
    assert row["status"] == "error"
    assert "lens distortion" in row["error"]["message"]
    assert palace in row["error"]["message"]


def test_quiet_still_tells_failures_and_nothing_else(capsys):
    assert app.main(["exif", "-q", "none.jpg"]) == 3
    assert capsys.readouterr().err == "error: BAD_PHOTO: none.jpg: there is no such file\n"


def test_no_photos_is_exit_code_4(capsys, tmp_path):
    assert app.main(["exif", str(tmp_path)]) == 4
    assert capsys.readouterr().err.startswith("error: NO_INPUT: no photos found: 0 photos")


@pytest.mark.parametrize(
    "arguments",
    [
        ["exif"],
        ["exif", "--wrong"],
        ["wrong"],
        ["exif", "x.jpg", "--focal", "1", "--fov", "2"],
        ["exif", "x.jpg", "--focal", "abc"],
        ["exif", "x.jpg", "--focal-mm", "4"],
        ["exif", "x.jpg", "--intrinsics", "none.json"],
        ["exif", "--files-from", "none.txt"],
    ],
)
def test_wrong_usage_is_exit_code_2_with_nothing_on_stdout(capsys, arguments):
    assert app.main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err


def test_a_focal_length_that_is_required_and_unknown_is_exit_code_7(capsys):
    assert app.main(["exif", "--json", "--require-focal", str(PHOTOS / "portrait.png")]) == 7
    assert lines(capsys)[0]["error"]["code"] == "NO_FOCAL"
    assert app.main(["exif", "--require-focal", str(PHOTOS / "portrait.png"), "none.jpg"]) == 3


def test_photos_of_the_same_camera_share_their_focal_length(capsys):
    photos = [str(PHOTOS / "palace.jpg"), str(PHOTOS / "portrait.png")]
    assert app.main(["exif", "--json", "--same-camera", "--require-focal", *photos]) == 0
    first, second = lines(capsys)
    assert second["focal_source"] == "exif-35mm"
    assert second["focal_px"] / 384 == pytest.approx(first["focal_px"] / 640)


def test_flags_can_come_from_the_environment(capsys, monkeypatch):
    monkeypatch.setenv("M3D_FOCAL", "1234")
    assert app.main(["exif", "--json", str(PHOTOS / "palace.jpg")]) == 0
    (row,) = lines(capsys)
    assert (row["focal_px"], row["focal_source"]) == (1234, "user")


def test_verbose_lists_the_candidates(capsys):
    app.main(["exif", "-v", str(PHOTOS / "flower.jpg")])
    assert "sensor-table 2451.6 px +- 3.0%" in capsys.readouterr().err


def test_a_file_name_cannot_break_a_line_of_the_table(capsys, tmp_path):
    path = tmp_path / "two\nlines\x1b[31m.jpg"
    path.write_bytes((PHOTOS / "palace.jpg").read_bytes())
    app.main(["exif", "-q", str(path)])
    output = capsys.readouterr().out
    assert len(output.splitlines()) == 2
    assert "\x1b" not in output


def test_an_error_raised_on_purpose_is_one_line_and_its_exit_code(capsys, monkeypatch):
    def fail(*_, **__):
        raise WeightsError("lost", hint="find them")

    monkeypatch.setattr("m3d_cli.photos.discover.find_photos", fail)
    assert app.main(["exif", "x.jpg"]) == 5
    assert capsys.readouterr().err == "error: BAD_WEIGHTS: lost. hint: find them\n"


def test_an_unexpected_error_is_one_line_and_a_traceback_only_on_demand(capsys, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("oops")

    monkeypatch.delenv("M3D_DEBUG", raising=False)
    monkeypatch.setattr("m3d_cli.photos.discover.find_photos", fail)
    assert app.main(["exif", "x.jpg"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: UNEXPECTED: ZeroDivisionError: oops.")
    assert len(error.splitlines()) == 1
    assert app.main(["exif", "-v", "x.jpg"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_colour_on_standard_error_follows_the_environment():
    plain = {key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "NO_COLOR")}
    assert b"\x1b" not in run("exif", "none.jpg", env=plain).stderr
    assert b"\x1b[31m" in run("exif", "none.jpg", env=plain | {"FORCE_COLOR": "1", "TERM": "xterm"}).stderr
    both = plain | {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm"}
    assert b"\x1b[31m" not in run("exif", "none.jpg", env=both).stderr


def test_ctrl_c_is_exit_code_130(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("m3d_cli.photos.discover.find_photos", interrupted)
    assert app.main(["exif", "x.jpg"]) == 130


def test_the_version_is_told(capsys):
    assert app.main(["--version"]) == 0
    assert capsys.readouterr().out == f"m3d {__version__}\n"


def test_help_is_quick_and_loads_no_heavy_library():
    code = (
        "import sys; from m3d_cli.cli.app import main; code = main(['exif', '--help']) or main(['--help']);"
        "heavy = {'numpy', 'torch', 'PIL', 'cv2', 'lensfunpy', 'pillow_heif', 'exifread'} & set(sys.modules);"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--focal-35mm" in done.stdout


def test_help_takes_less_than_0_3_seconds_beyond_the_interpreter():
    def fastest(*command):
        spent = []
        for _ in range(4):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(spent)

    # Processor time, so that other programs on the machine do not count.
    assert fastest(*M3D, "--help") - fastest(sys.executable, "-c", "pass") < 0.3


def test_reading_exif_does_not_load_torch():
    code = (
        "import sys; from m3d_cli.cli.app import main;"
        f"code = main(['exif', '-q', '-r', {str(PHOTOS)!r}]);"
        "sys.exit(code or ('torch' in sys.modules) or ('open3d' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_nothing_but_data_is_on_stdout():
    done = run("exif", "-r", "-v", "--json", PHOTOS, "none.jpg")
    assert done.returncode == 3
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 8
    assert done.stderr


def test_a_list_on_standard_input_may_end_in_nul_bytes(tmp_path):
    odd = tmp_path / "a\nb.jpg"
    odd.write_bytes((PHOTOS / "palace.jpg").read_bytes())
    listed = b"\0".join([os.fsencode(odd), os.fsencode(PHOTOS / "flower.jpg"), b""])
    done = run("exif", "--files-from", "-", "-0", "--json", input=listed)
    assert done.returncode == 0
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == [str(odd), str(PHOTOS / "flower.jpg")]


def test_a_name_that_is_no_text_keeps_its_bytes(tmp_path):
    odd = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(odd)).write_bytes((PHOTOS / "palace.jpg").read_bytes())
    done = subprocess.run([*M3D, "exif", "-q", odd], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert odd in done.stdout


def test_a_reader_that_leaves_early_ends_the_program_quietly(tmp_path):
    for index in range(40):
        (tmp_path / f"{index}.jpg").write_bytes((PHOTOS / "palace.jpg").read_bytes())
    command = f"{sys.executable} -m m3d_cli exif --json -q {tmp_path} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    first, code = done.stdout.splitlines()
    assert json.loads(first)["status"] == "ok"
    # The list may be through before its reader leaves; what counts is that nobody complains.
    assert code in ("0", "141")
    assert done.stderr == ""


def test_a_closed_pipe_is_noticed_at_the_next_line():
    with subprocess.Popen([*M3D, "exif", "--files-from", "-", "--json"], stdin=-1, stdout=-1, stderr=-1) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.write(os.fsencode(PHOTOS / "palace.jpg"))
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_an_interrupt_of_the_real_program_leaves_no_traceback(tmp_path):
    for index in range(400):
        shutil.copyfile(PHOTOS / "palace.jpg", tmp_path / f"{index}.jpg")
    with subprocess.Popen([*M3D, "exif", "--json", tmp_path], stdout=-1, stderr=-1) as process:
        # Its lines fill the pipe, so it cannot be through when the signal comes.
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"Traceback" not in error


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder that is in use")
def test_a_deleted_current_folder_ends_with_the_way_out(tmp_path):
    program = (
        "import os, sys; from m3d_cli.cli.app import main; os.mkdir('gone'); os.chdir('gone'); os.rmdir(os.getcwd());"
        "sys.exit(main(['exif', '.']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("error: USAGE: the current folder was deleted. hint: cd")


def test_a_list_from_a_closed_standard_input_ends_with_the_way_out():
    command = f"{sys.executable} -m m3d_cli exif --files-from - <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert b"standard input is closed" in done.stderr
