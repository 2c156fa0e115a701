"""``m3d depth``, ``models`` and ``doctor``: exit codes in this process, streams and signals in a real program."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from m3d_cli.cli import app
from m3d_cli.formats.depth_png import read_depth_png
from m3d_cli.models.registry import PUBLISHED
from m3d_cli.pipeline.tally import Tally

PHOTOS = Path(__file__).parents[1] / "data" / "photos"
PALACE = PHOTOS / "palace.jpg"
M3D = [sys.executable, "-m", "m3d_cli"]
TEST_MODEL = ["--model", "m3d-test-lite", "--device", "cpu"]


def depth(*arguments):
    return app.main(["depth", *map(str, arguments), *TEST_MODEL])


def run(*arguments, **options):
    command = [*M3D, "depth", *map(os.fspath, arguments), *TEST_MODEL]
    return subprocess.run(command, capture_output=True, check=False, timeout=120, **options)


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_folder_of_photos_becomes_depth_and_sidecars(capsys, tmp_path):
    assert depth("-r", PHOTOS, "--out", tmp_path) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert "1 of 7 photos: focal length assumed, metres may be off by 25 % (1 sigma)" in output.err
    assert "7 photos: 7 done in " in output.err
    for photo in PHOTOS.rglob("*.*"):
        relative = photo.relative_to(PHOTOS).with_suffix("")
        side = json.loads((tmp_path / f"{relative}.json").read_text())
        found = read_depth_png(tmp_path / f"{relative}.png")
        assert found.depth.shape == (side["camera"]["height"], side["camera"]["width"])
        assert side["photo"] == photo.relative_to(PHOTOS).as_posix()
        assert np.nanmedian(found.depth) == pytest.approx(side["depth"]["median_m"], rel=0.02)
        assert side["model"]["name"] == "m3d-test-lite"
        assert len(side["model"]["weights_sha256"]) == 64


def test_what_was_ignored_is_said_and_only_then(capsys, tmp_path, save_photo):
    save_photo("in/a.png")
    assert depth(tmp_path / "in", "--out", tmp_path / "out") == 0
    assert "ignored" not in capsys.readouterr().err
    save_photo("in/below/b.png")
    assert depth(tmp_path / "in", "--out", tmp_path / "out") == 0
    assert "1 photo, 1 ignored (1 subfolder" in capsys.readouterr().err


def test_names_cannot_steer_the_terminal(capsys, tmp_path):
    assert depth("none\x1b[2J\nerror: fake.jpg", "--out", tmp_path) == 3
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert not any(line.startswith("error: fake") for line in told.splitlines())


def test_json_lines_say_what_became_of_each_photo(capsys, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff")
    arguments = [PALACE, bad, "none.jpg", "--out", tmp_path / "out", "--json"]
    assert depth(*arguments) == 3
    good, broken, missing = lines(capsys)
    assert (good["path"], good["status"], good["outputs"]) == (str(PALACE), "done", ["palace.png", "palace.json"])
    assert (good["focal_source"], good["focal_trust"]) == ("exif-35mm", "high")
    camera = json.loads((tmp_path / "out" / "palace.json").read_text())["camera"]
    # The word is of the focal length alone; its old name, which promised a scale, stays for one release.
    assert camera["focal_trust"] == camera["scale_trust"] == good["scale_trust"] == "high"
    assert set(good["seconds"]) == {"decode", "network", "upsample", "encode", "write"}
    assert (broken["status"], broken["error"]["code"]) == ("error", "BAD_PHOTO")
    assert missing["error"]["message"] == "none.jpg: there is no such file"
    assert depth(*arguments) == 3
    assert [row["status"] for row in lines(capsys)] == ["skipped", "error", "error"]


def test_every_format_is_written_and_they_agree(tmp_path):
    formats = "png,npy,npz,tiff,pfm,conf,preview"
    assert depth(PALACE, "--out", tmp_path, "--format", formats, "-q") == 0
    exact = np.load(tmp_path / "palace.npy")
    with np.load(tmp_path / "palace.npz") as archive:
        np.testing.assert_array_equal(archive["depth"], exact)
        assert archive["confidence"].shape == exact.shape
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "palace.tiff"), cv2.IMREAD_UNCHANGED), exact)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "palace.pfm"), cv2.IMREAD_UNCHANGED), exact)
    np.testing.assert_allclose(read_depth_png(tmp_path / "palace.png").depth, exact, atol=0.00051)
    listed = {entry["file"] for entry in json.loads((tmp_path / "palace.json").read_text())["outputs"]}
    assert listed | {"palace.json", "m3d-run.jsonl"} == {path.name for path in tmp_path.iterdir()}


def test_twice_the_focal_length_is_exactly_twice_the_depth(tmp_path):
    for focal in (500, 1000):
        assert depth(PALACE, "--out", tmp_path / str(focal), "--focal", focal, "--format", "npy", "-q") == 0
    once, twice = (np.load(tmp_path / name / "palace.npy") for name in ("500", "1000"))
    np.testing.assert_array_equal(twice, 2 * once)


def test_a_photo_at_half_size_with_the_same_exif_has_the_same_depth(tmp_path, save_photo):
    image = cv2.GaussianBlur(cv2.imread(str(PALACE))[:420, :632, ::-1], (0, 0), 3)
    whole = save_photo("whole.png", image=cv2.resize(image, None, fx=2, fy=2), tags={0xA405: 28})
    half = save_photo("half.png", image=cv2.resize(image, None, fx=1, fy=1), tags={0xA405: 28})
    assert depth(whole, half, "--out", tmp_path / "out", "--format", "npy", "-q") == 0
    large, small = (np.load(tmp_path / "out" / f"{name}.npy") for name in ("whole", "half"))
    # The two resizes to the network's input differ by a grey value here and there.
    np.testing.assert_allclose(cv2.resize(large, small.shape[::-1], interpolation=cv2.INTER_AREA), small, rtol=0.02)


def test_orientation_and_file_format_make_no_difference(tmp_path, save_photo):
    names = [f"in/{kind}-{turn}.{kind}" for kind in ("png", "tiff", "webp", "jpg", "heic") for turn in range(1, 9)]
    photos = [save_photo(name, orientation=int(Path(name).stem[-1]), tags={0xA405: 28}) for name in names]
    assert depth(*photos, "--out", tmp_path / "out", "--format", "npy", "-q") == 0
    expected = np.load(tmp_path / "out" / "png-1.npy")
    for name in names:
        found = np.load(tmp_path / "out" / Path(name).with_suffix(".npy").name)
        assert found.shape == (48, 64)
        is_lossless = not name.endswith(("jpg", "heic"))
        # Lossy formats give slightly other pixels, to which a network of random weights is not blind.
        np.testing.assert_allclose(found, expected, rtol=1e-6 if is_lossless else 0.03, err_msg=name)


def test_batches_give_the_same_depth_as_photos_alone(tmp_path):
    assert depth("-r", PHOTOS, "--out", tmp_path / "alone", "--format", "npy", "-q") == 0
    assert depth("-r", PHOTOS, "--out", tmp_path / "batch", "--format", "npy", "-q", "--batch-size", 4) == 0
    for path in (tmp_path / "alone").rglob("*.npy"):
        other = np.load(tmp_path / "batch" / path.relative_to(tmp_path / "alone"))
        np.testing.assert_allclose(other, np.load(path), rtol=1e-4)


def test_depth_beyond_the_png_is_counted_and_told(capsys, tmp_path):
    assert depth(PHOTOS / "rocket.webp", "--out", tmp_path, "--focal", 9000, "--format", "png,npy", "--json") == 0
    (row,) = lines(capsys)
    clipped = int(np.count_nonzero(np.load(tmp_path / "rocket.npy") >= 65.5355))
    assert clipped > 0
    # What is far is no remark on the photo: outdoors it would stand on every one.
    assert not any("beyond the" in warning for warning in row["warnings"])
    side = json.loads((tmp_path / "rocket.json").read_text())
    assert side["notes"][-1].startswith(f"{clipped} pixels are beyond the 65.5 m")
    assert side["depth"]["clipped_pixels"] == clipped
    assert np.count_nonzero(np.isnan(read_depth_png(tmp_path / "rocket.png").depth)) == clipped


def test_a_limit_on_depth_and_another_scale(tmp_path):
    assert depth(PALACE, "--out", tmp_path, "--max-depth", "4.7", "--png-scale", "256", "-q") == 0
    found = read_depth_png(tmp_path / "palace.png")
    assert found.scale == 256
    assert np.nanmax(found.depth) <= 4.7 + 1 / 512
    assert json.loads((tmp_path / "palace.json").read_text())["depth"]["unknown_pixels"] > 0


def test_a_dry_run_shows_the_plan_and_writes_nothing(capsys, tmp_path):
    assert depth(PALACE, PHOTOS / "portrait.png", "--out", tmp_path / "out", "--dry-run") == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[0].startswith(f"todo   {PALACE} -> {tmp_path}/out/palace.png")
    assert "426.8 px exif-35mm" in output.out
    assert output.err == "2 photos: 2 to do; nothing was written\n"
    assert not (tmp_path / "out").exists()
    depth(PALACE, "--out", tmp_path / "out", "-q")
    capsys.readouterr()
    assert depth(PALACE, PHOTOS / "portrait.png", "none.jpg", "--out", tmp_path / "out", "--dry-run", "--json") == 3
    assert [row["status"] for row in lines(capsys)] == ["done", "todo", "error"]


def test_a_required_focal_length_that_is_unknown_is_exit_code_7(capsys, tmp_path):
    portrait = PHOTOS / "portrait.png"
    assert depth(PALACE, portrait, "--out", tmp_path, "--require-focal", "--json") == 7
    assert lines(capsys)[1]["error"]["code"] == "NO_FOCAL"
    assert depth(portrait, "none.jpg", "--out", tmp_path, "--require-focal", "-q") == 3
    assert depth(PALACE, portrait, "--out", tmp_path, "--require-focal", "--same-camera", "-q") == 0


def test_failures_can_stop_the_run_or_be_ignored(capsys, tmp_path):
    missing = [f"none{index}.jpg" for index in range(5)]
    assert depth(*missing, "--out", tmp_path / "a", "--json", "--max-failures", 2) == 3
    assert len(lines(capsys)) == 2
    assert depth(*missing, "--out", tmp_path / "a", "--json", "--fail-fast") == 3
    assert len(lines(capsys)) == 1
    assert depth(*missing, "--out", tmp_path / "a", "--exit-zero", "-q") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ([PALACE], 2, "--out"),
        ([PALACE, "--out", "o", "--format", "jpeg"], 2, "no format"),
        ([PALACE, "--out", "o", "--model", "best"], 2, "no model named best"),
        ([PALACE, "--out", "o", "--png-scale", "0"], 2, "png-scale"),
        ([PALACE, "--out", "o", "--colour-map", "jet"], 2, "jet"),
        ([PALACE, "--out", "o", "--batch-size", "0"], 2, "batch-size"),
        ([PALACE, "--out", "o", "--weights", "none.safetensors"], 5, "none.safetensors"),
        ([PALACE, PALACE.with_name("flower.jpg"), "--out", "-"], 2, "one photo"),
        ([PALACE, "--out", "-", "--dry-run"], 2, "--dry-run"),
        ([PALACE, "--out", "-", "--json"], 2, "one file"),
        (["--out", "o"], 2, "no photos named"),
        ([".", "--out", "o"], 4, "NO_INPUT"),
    ],
)
def test_wrong_usage_ends_before_anything_is_written(capsys, tmp_path, monkeypatch, arguments, code, word):
    monkeypatch.chdir(tmp_path)
    tail = [] if "--model" in arguments else ["--model", "m3d-test-lite"]
    assert app.main(["depth", *map(str, arguments), *tail]) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert word in output.err
    assert not (tmp_path / "o").exists()


def test_weights_and_devices_that_fail_have_their_exit_codes(capsys, tmp_path):
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"nothing like it")
    assert depth(PALACE, "--out", tmp_path / "o", "--weights", wrong) == 5
    command = ["depth", str(PALACE), "--out", str(tmp_path / "o"), "--model", "m3d-test-lite", "--device", "cuda:77"]
    assert app.main(command) == 6
    assert capsys.readouterr().err.count("error: ") == 2


def test_collisions_are_found_before_any_work(capsys, tmp_path, save_photo):
    photos = [save_photo("in/a.jpg"), save_photo("in/a.png")]
    assert depth(*photos, "--out", tmp_path / "o") == 2
    assert "OUTPUT_COLLISION" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert depth(tmp_path / "in", "--out", tmp_path / "in") == 2
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["a.jpg", "a.png"]
    assert depth(*photos, "--out", tmp_path / "o", "--keep-extension", "-q") == 0
    assert (tmp_path / "o" / "a.jpg.png").exists()


def test_an_output_folder_among_the_photos_is_no_input(capsys, tmp_path, save_photo):
    save_photo("in/a.jpg")
    for _ in range(2):
        assert depth("-r", tmp_path / "in", "--out", tmp_path / "in" / "depth", "--json") == 0
        assert len(lines(capsys)) == 1


def test_settings_can_come_from_the_environment(monkeypatch, tmp_path):
    for name, value in {"OUT": tmp_path, "FORMAT": "npy", "MODEL": "m3d-test-lite", "DEVICE": "cpu"}.items():
        monkeypatch.setenv(f"M3D_{name}", str(value))
    assert app.main(["depth", str(PALACE), "-q"]) == 0
    assert (tmp_path / "palace.npy").exists()


def test_a_focal_length_on_the_command_line_sets_aside_the_environments(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("M3D_FOCAL", "300")
    monkeypatch.setenv("M3D_INTRINSICS", str(tmp_path / "none.json"))
    assert depth(PALACE, "--out", tmp_path, "--fov", 90, "--dry-run", "--json") == 0
    assert lines(capsys)[0]["focal_px"] == pytest.approx(320)
    monkeypatch.delenv("M3D_INTRINSICS")
    assert depth(PALACE, "--out", tmp_path, "--dry-run", "--json") == 0
    assert lines(capsys)[0]["focal_px"] == 300
    monkeypatch.setenv("M3D_FOV", "90")
    assert depth(PALACE, "--out", tmp_path, "--dry-run") == 2


def test_a_distorting_lens_is_straightened_and_the_sidecar_says_so(tmp_path):
    lens = tmp_path / "lens.json"
    lens.write_text(
        json.dumps(
            {"width": 640, "height": 427, "fx": 500, "fy": 500, "cx": 320, "cy": 213.5, "distortion": [-0.1, 0.01]}
        )
    )
    assert depth(PALACE, "--out", tmp_path / "o", "--intrinsics", lens, "-q") == 0
    side = json.loads((tmp_path / "o" / "palace.json").read_text())
    assert "undistorted" in side["notes"][0]
    assert side["camera"]["focal_source"] == "calibration"


# The real program.


def test_one_photo_goes_through_a_pipe(tmp_path):
    done = run(PALACE, "--out", "-")
    assert done.returncode == 0, done.stderr
    assert depth(PALACE, "--out", tmp_path, "-q") == 0
    assert done.stdout == (tmp_path / "palace.png").read_bytes()


def test_a_photo_through_a_pipe_says_what_its_depth_rests_on():
    done = run(PHOTOS / "portrait.png", "--out", "-", "--focal-35mm", "900")
    assert done.returncode == 0
    assert b"pixels are beyond the 65.5 m" in done.stderr
    done = run(PHOTOS / "portrait.png", "--out", "-", "--same-camera")
    assert done.stdout.startswith(b"\x89PNG")
    assert b"focal length unknown, 69.4 degrees assumed" in done.stderr
    assert run(PHOTOS / "portrait.png", "--out", "-", "-q").stderr == b""


def test_a_broken_photo_or_device_for_a_pipe_has_its_exit_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    assert depth("none.jpg", "--out", "-") == 3
    assert app.main(["depth", str(PALACE), "--out", "-", "--model", "m3d-test-lite", "--device", "cuda:77"]) == 6
    assert depth(PALACE, "--out", "-") == 141


def test_a_program_started_without_streams_works_and_says_nothing(tmp_path):
    program = " ".join([*M3D, "depth", *TEST_MODEL])
    quiet = f"{program} {PALACE} --out {tmp_path}/d >&- 2>&-"
    done = subprocess.run(["bash", "-c", quiet], check=False, timeout=60)
    assert done.returncode == 0
    assert (tmp_path / "d" / "palace.png").exists()
    json_lines = f"{program} {PALACE} --out {tmp_path}/d --json -v >&-"
    done = subprocess.run(["bash", "-c", json_lines], capture_output=True, check=False, timeout=60)
    assert done.returncode == 141
    assert b"UNEXPECTED" not in done.stderr


def test_odd_names_from_find_are_worked_on_and_stdout_holds_only_data(tmp_path):
    names = ["two words.jpg", "tabs\tand\nlines.jpg", "größe 😀.jpg"]
    (tmp_path / "in").mkdir()
    for name in names:
        (tmp_path / "in" / name).write_bytes(PALACE.read_bytes())
    (tmp_path / "in" / "none.jpg").write_bytes(b"")
    program = " ".join([*M3D, "depth", *TEST_MODEL])
    command = f"find in -name '*.jpg' -print0 | {program} --files-from - -0 --out d --json -v"
    environment = os.environ | {"PYTHONPATH": str(Path(app.__file__).parents[2])}
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, check=False, timeout=120, env=environment
    )
    assert done.returncode == 3, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["path"] for row in rows} == {f"in/{name}" for name in [*names, "none.jpg"]}
    for name in names:
        assert (tmp_path / "d" / "in" / name).with_suffix(".png").exists()


def test_a_reader_that_leaves_early_ends_the_run_quietly_and_resumably(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(120):
        (tmp_path / "in" / f"{index}.jpg").write_bytes(PALACE.read_bytes())
    program = " ".join([*M3D, "depth", *TEST_MODEL])
    command = f"{program} -q --json {tmp_path}/in --out {tmp_path}/d | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    first, code = done.stdout.splitlines()
    assert json.loads(first)["status"] == "done"
    assert (code, done.stderr) == ("141", "")
    assert not list((tmp_path / "d").glob("*.part"))


def test_an_interrupt_finishes_what_is_written_and_is_exit_code_130(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(200):
        (tmp_path / "in" / f"{index}.jpg").write_bytes(PALACE.read_bytes())
    command = [*M3D, "depth", *TEST_MODEL, "--json", str(tmp_path / "in"), "--out", str(tmp_path / "d")]
    with subprocess.Popen(command, stdout=-1, stderr=-1) as process:
        assert process.stdout
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in error
    assert b"left for the next run" in error
    told = int(re.search(rb"(\d+) done", error).group(1))
    assert not list((tmp_path / "d").glob("*.part"))
    journal = [json.loads(line) for line in (tmp_path / "d" / "m3d-run.jsonl").read_text().splitlines()]
    finished = {row["key"] for row in journal if row["status"] == "done"}
    assert {row["key"] for row in journal if row["status"] == "started"} == finished
    assert 3 <= len(finished) < 200
    assert told == len(finished)


def test_a_finished_run_and_a_dry_run_do_not_load_torch(tmp_path):
    assert depth(PALACE, "--out", tmp_path, "-q") == 0
    common = ["depth", str(PALACE), "--out", str(tmp_path), "-q", *TEST_MODEL]
    code = (
        "import sys; from m3d_cli.cli.app import main;"
        f"codes = [main({common!r}), main({[*common, '--dry-run']!r}), main(['models'])];"
        "sys.exit(f'{codes}' if any(codes) or 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


# The other two commands, and what the program says.


def test_models_tell_what_may_be_done_with_them(capsys):
    assert app.main(["models"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("lite  ")
    assert "licence" in text
    assert "m3d-test" not in text
    assert app.main(["models", "--json"]) == 0
    rows = lines(capsys)
    assert [row["name"] for row in rows] == ["lite", *PUBLISHED]
    for row in rows:
        assert {"licence", "accuracy", "weak_at", "bytes", "sha256", "input_width", "canonical_focal_px"} <= set(row)
        assert row["installed"] is (row["name"] == "lite")


def test_the_doctor_knows_devices_and_formats(capsys):
    assert app.main(["doctor"]) == 0
    assert "devices" in capsys.readouterr().out
    assert app.main(["doctor", "--json"]) == 0
    (facts,) = lines(capsys)
    assert facts["devices"][-1].startswith("cpu")
    assert {"JPEG", "PNG", "HEIF"} <= set(facts["reads"])
    assert "png" in facts["writes"]
    assert facts["run lock"] == "yes"
    assert facts["backends"][0] == "torch"
    assert facts["engines"][0] == "local"


def test_a_tally_of_nothing_is_a_success():
    tally = Tally(3)
    assert tally.exit_code == 0
    assert tally.summary().startswith("3 photos: 3 left for the next run in ")
