"""m3d video from the command line: rotation, times, sampling, broken files, the filter, and going on."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m3d_cli.cli.app import main
from m3d_cli.errors import PhotoError, UsageError
from m3d_cli.formats.depth_folder import load_depth
from m3d_cli.sequences.clip import Clip, ClipFrame, upright
from m3d_cli.sequences.extract import Sampling, extract

av = pytest.importorskip("av", reason="PyAV is not installed")


def quiet() -> None:
    """Nobody counts."""


def film(path: Path, times: list[float], *, rotation: int = 0, noise: int = 0) -> Path:
    """A clip with a frame at each time: grey, brighter from frame to frame, its top left quarter red."""
    rng, size = np.random.default_rng(0), (96, 64)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height = size
        stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for index, time in enumerate(times):
            image = np.full((size[1], size[0], 3), 60 + 2 * index, np.uint8)
            image[: size[1] // 2, : size[0] // 2] = (200, 30, 30)
            image += rng.integers(0, noise + 1, image.shape, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_frames_keep_their_own_times(tmp_path: Path) -> None:
    times = [0.0, 0.033, 0.066, 0.5, 0.7, 1.4]
    clip = Clip(film(tmp_path / "a.mp4", times))
    found = [frame.time for frame in clip.frames()]
    np.testing.assert_allclose(np.array(found) - found[0], times, atol=0.002)
    assert clip.notes == []


def test_pictures_are_turned_as_the_clip_says(tmp_path: Path) -> None:
    clip = Clip(film(tmp_path / "a.mp4", [0.0, 0.1], rotation=90))
    image = next(iter(clip.frames())).image
    assert image.shape == (96, 64, 3)
    # A quarter turn counter-clockwise takes the top left to the bottom left.
    assert image[80, 10, 0] > image[80, 10, 1] + 80
    assert image[10, 10, 0] < image[10, 10, 1] + 40
    np.testing.assert_array_equal(upright(np.eye(3, dtype=np.uint8)[..., None], -180)[..., 0], np.eye(3))


def test_sampling_goes_by_time_where_a_rate_is_given() -> None:
    image = np.zeros((1, 1, 3), np.uint8)
    frames = [ClipFrame(index, time, image) for index, time in enumerate((0.0, 0.1, 0.2, 0.21, 0.9, 1.0))]
    taken: list[float] = []
    for frame in frames:
        if Sampling(rate=5).takes(frame, len(taken), taken[-1] if taken else 0.0):
            taken.append(frame.time)
    assert taken == [0.0, 0.2, 0.9]
    assert [frame.number for frame in frames if Sampling(every=4).takes(frame, 0, 0.0)] == [0, 4]
    with pytest.raises(UsageError, match="--fps"):
        Sampling(rate=0)


def test_two_ways_of_sampling_are_refused() -> None:
    with pytest.raises(UsageError, match="--every and --fps"):
        Sampling(every=2, rate=3.0)


def test_a_clip_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    whole = film(tmp_path / "a.mkv", [index / 10 for index in range(60)], noise=50)
    data = whole.read_bytes()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data[: len(data) // 2])
    found = extract(broken, tmp_path / "frames", Sampling(), quiet)
    assert 5 < found.frames < 60
    assert any("is truncated" in note for note in found.notes)
    assert len((tmp_path / "frames" / "times.txt").read_text().splitlines()) == found.frames + 1
    again = extract(broken, tmp_path / "frames", Sampling(), quiet)
    assert again == found


def test_what_is_no_video_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video" * 100)
    with pytest.raises(PhotoError, match="the video cannot be read"):
        Clip(path)
    assert main(["video", str(path), "--out", str(tmp_path / "out")]) == 3
    assert "a.mp4: the video cannot be read" in capsys.readouterr().err


def test_a_video_becomes_depth_and_a_preview_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = film(tmp_path / "a.mp4", [index / 10 for index in range(6)]), tmp_path / "out"
    call = ["video", str(path), "--out", str(out), "--model", "lite", "--fov", "60", "--every", "2", "--filter", "0.6"]
    assert main([*call, "--json"]) == 0
    streams = capsys.readouterr()
    told = json.loads(streams.out)
    assert told["frames"] == 3
    assert told["filter"] == 0.6
    assert told["depth"] == str(out / "filtered")
    raw, steadied = load_depth(out / "depth" / "000001.json"), load_depth(out / "filtered" / "000001.json")
    assert raw.depth.camera == steadied.depth.camera
    assert "temporal filter along optical flow, share of the past 0.6" in steadied.sidecar.notes
    assert all("temporal" not in note for note in raw.sidecar.notes)
    with av.open(str(out / "preview.mp4")) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, [0.0, 0.2, 0.4], atol=0.002)

    assert main(call) == 0
    assert "3 already done" in capsys.readouterr().err
    assert main(["video", str(path), "--out", str(out), "--every", "3"]) == 2
    assert "another clip or sampling" in capsys.readouterr().err


def test_a_folder_of_frames_is_a_clip_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(2):
        Image.fromarray(np.full((64, 96, 3), 90 + index, np.uint8)).save(folder / f"{index}.jpg")
    call = ["video", str(folder), "--out", str(tmp_path / "out"), "--model", "lite", "--npz", "--no-preview"]
    assert main([*call, "--fov", "60"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'depth'}\n"
    assert (tmp_path / "out" / "depth" / "1.npz").is_file()
    assert not (tmp_path / "out" / "preview.mp4").exists()
    assert json.loads((tmp_path / "out" / "video.json").read_text())["filtered_flicker"] is None
    shutil.rmtree(tmp_path / "out")
    assert main([*call, "--every", "2"]) == 2
    assert "used as it is" in capsys.readouterr().err
