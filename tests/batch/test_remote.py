"""Photos and results behind URLs: the same files as from a disk, resumed, and broken off without loss."""

from __future__ import annotations

import functools
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from m3d_cli.cli import app
from m3d_cli.errors import UsageError
from m3d_cli.photos import remote
from m3d_cli.photos.remote import GIGABYTE, RemoteFile, fetched, find_remote, is_url, open_store
from m3d_cli.pipeline import upload as remote_out
from m3d_cli.pipeline.journal import JOURNAL_NAME
from m3d_cli.private_folder import PREFIX, _sweep_once

COUNT = 6
OPTIONS = ["--model", "m3d-test-lite", "--format", "png,npy", "-q"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(6)
    (folder / "sub").mkdir()
    for index in range(COUNT):
        place = folder / "sub" if index % 2 else folder
        Image.fromarray(rng.integers(0, 255, (30 + index, 60, 3), dtype=np.uint8)).save(place / f"IMG {index}.png")
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def plain(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("plain")
    assert app.main(["depth", str(photos), "-r", "--out", str(out), *OPTIONS, "--device", "cpu"]) == 0
    return contents(out)


def depth(source, out, *more):
    chosen = () if "--devices" in more else ("--device", "cpu")
    return app.main(["depth", "-r", str(source), "--out", str(out), *OPTIONS, *chosen, *more])


def contents(out):
    files = (path for path in out.rglob("*") if path.is_file() and path.suffix != ".jsonl")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_from_url_to_url_gives_the_files_of_a_plain_run_and_leaves_nothing_here(photos, plain, tmp_path, cache, capsys):
    out = tmp_path / "out"
    assert depth(f"file://{photos}", f"file://{out}", "--json") == 0
    told = lines(capsys)
    assert contents(out) == plain
    assert {line["path"] for line in told} == {f"file://{path}" for path in photos.rglob("*.png")}
    assert not list(out.rglob("*.part"))
    assert [path.name for path in cache.rglob("*") if path.is_file()] == [JOURNAL_NAME]
    assert not list(tmp_path.glob("m3d-*"))


def test_a_run_to_a_url_goes_on_also_from_another_machine(photos, tmp_path, cache, capsys, monkeypatch):
    out = tmp_path / "out"
    assert depth(f"file://{photos}/sub", f"file://{out}/sub") == 0
    assert depth(f"file://{photos}/sub", f"file://{out}/sub", "--json") == 0
    assert {line["status"] for line in lines(capsys)} == {"skipped"}
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "other machine"))
    (out / "sub" / "IMG 1.npy").unlink()
    assert depth(f"file://{photos}/sub", f"file://{out}/sub", "--json") == 0
    assert sorted((Path(line["path"]).name, line["status"]) for line in lines(capsys)) == [
        ("IMG 1.png", "done"),
        ("IMG 3.png", "skipped"),
        ("IMG 5.png", "skipped"),
    ]


def test_files_that_no_run_made_are_not_overwritten_there(photos, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "IMG 0.png").write_bytes(b"mine")
    assert depth(f"file://{photos}", f"file://{out}") == 3
    assert f"file://{out}/IMG 0.png exists already" in capsys.readouterr().err
    assert (out / "IMG 0.png").read_bytes() == b"mine"
    assert depth(f"file://{photos}", f"file://{out}", "--overwrite") == 0


def test_a_store_without_a_disk_keeps_results_too(photos, plain):
    store = fsspec.filesystem("memory")
    assert depth(photos, "memory://run/out") == 0
    found = {name.removeprefix("/run/out/"): store.cat_file(name) for name in store.find("/run/out")}
    assert {name: data for name, data in found.items() if not name.endswith(".jsonl")} == plain
    store.rm("/run", recursive=True)


def test_processes_fetch_and_deliver_by_themselves(photos, plain, tmp_path):
    out = tmp_path / "out"
    assert depth(f"file://{photos}", f"file://{out}", "--devices", "cpu,cpu") == 0
    assert contents(out) == plain


def test_photos_of_a_web_server_are_fetched_and_what_is_not_there_is_named(photos, plain, tmp_path, capsys):
    pytest.importorskip("aiohttp", reason="the remote extra is not installed")
    handler = functools.partial(Quiet, directory=str(photos))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        assert depth(f"{base}/IMG%200.png", tmp_path / "one") == 0
        assert depth(f"{base}/gone.jpg", tmp_path / "two") in (3, 4)
        server.shutdown()
    made = contents(tmp_path / "one")
    assert made["IMG%200.png"] == plain["IMG 0.png"]
    assert f"{base}/gone.jpg" in capsys.readouterr().err


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_parts_on_two_machines_are_merged_there(photos, plain, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    for part in ("1/2", "2/2"):
        monkeypatch.setenv("M3D_CACHE", str(tmp_path / part[0]))
        assert depth(f"file://{photos}", f"file://{out}", "--shard", part) == 0
    assert len(list(out.glob("*.jsonl"))) == 2
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "third"))
    assert app.main(["merge", f"file://{out}"]) == 0
    assert [path.name for path in out.glob("*.jsonl")] == [JOURNAL_NAME]
    assert contents(out) == plain
    capsys.readouterr()
    assert depth(f"file://{photos}", f"file://{out}", "--json") == 0
    assert {line["status"] for line in lines(capsys)} == {"skipped"}


def test_an_upload_that_fails_is_the_photos_failure_and_the_next_run_makes_it_good(
    photos, plain, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    put = remote_out._put

    def broken(store, path, target):
        if path.name == "IMG 3.npy":
            raise OSError("the line was cut")
        put(store, path, target)

    monkeypatch.setattr(remote_out, "_put", broken)
    assert depth(f"file://{photos}", f"file://{out}") == 3
    assert f"file://{out}/sub/IMG 3.npy: cannot be uploaded: the line was cut" in capsys.readouterr().err
    monkeypatch.setattr(remote_out, "_put", put)
    assert depth(f"file://{photos}", f"file://{out}") == 0
    assert contents(out) == plain


def test_a_photo_that_vanished_is_named_by_its_url(photos, tmp_path, capsys, monkeypatch):
    place = tmp_path / "in"
    place.mkdir()
    for name in ("a.png", "b.png"):
        (place / name).write_bytes((photos / "IMG 0.png").read_bytes())
    broken = place / "c.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    real = remote._download

    def vanishing(*arguments):
        (place / "b.png").unlink(missing_ok=True)
        real(*arguments)

    monkeypatch.setattr(remote, "_download", vanishing)
    assert depth(f"file://{place}", tmp_path / "out") == 3
    told = capsys.readouterr().err
    assert f"file://{place}/b.png: there is no such file" in told
    assert f"file://{place}/c.png: the image cannot be decoded" in told
    assert (tmp_path / "out" / "a.png").exists()


def test_what_urls_cannot_do_is_refused_with_the_way_out(photos, tmp_path, capsys):
    url = f"file://{photos}"
    assert depth(url, tmp_path / "out", "--same-camera") == 2
    assert depth(url, tmp_path / "out", "--dry-run") == 2
    assert app.main(["exif", url]) == 2
    assert depth(f"file://{photos}/sub", f"file://{photos}/sub") == 2
    assert depth("nosuch://bucket/a", tmp_path / "out") == 2
    assert depth("file:///nowhere/at/all", tmp_path / "out") == 3
    told = capsys.readouterr().err
    assert "would get its depth beside it" in told
    assert "m3d depth and m3d pointcloud take URLs" in told
    assert "nosuch://bucket/a" in told


def test_a_folder_a_glob_and_a_file_are_listed(photos):
    names = [relative for _, relative in find_remote(f"file://{photos}", recursive=True)]
    assert len(names) == COUNT + 1
    assert len(find_remote(f"file://{photos}", recursive=False)) == COUNT // 2 + 1
    assert [relative for _, relative in find_remote(f"file://{photos}/*/*3.png", recursive=False)] == ["sub/IMG 3.png"]
    assert [relative for _, relative in find_remote(f"file://{photos}/sub/IMG 1.png", recursive=False)] == ["IMG 1.png"]


def test_without_the_package_of_a_store_its_name_is_told(monkeypatch):
    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UsageError, match="Install s3fs") as caught:
        open_store("s3://bucket/a")
    assert "[remote]'" in caught.value.hint


@pytest.mark.parametrize(("text", "told"), [("s3://b/a", True), ("a/b.png", False), ("C:\\a", False), ("://x", False)])
def test_urls_are_told_from_paths(text, told):
    assert is_url(text) is told


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """A file of the user in the current folder, which has the name of photos behind URLs."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "IMG_1.jpg").write_bytes(b"mine")
    monkeypatch.chdir(folder)
    return folder / "IMG_1.jpg"


def test_a_url_without_a_file_leaves_the_file_of_that_name_here_alone(own_file, tmp_path, capsys):
    for target in (str(tmp_path / "out"), "."):
        assert depth("file:///nowhere/IMG_1.jpg", target) == 3
        told = capsys.readouterr().err
        assert "file:///nowhere/IMG_1.jpg: there is no such file" in told
        assert told.count("nowhere") == 1
    assert own_file.read_bytes() == b"mine"


def test_a_page_that_is_not_there_is_named_once_and_nothing_here_is_touched(own_file, tmp_path, capsys):
    pytest.importorskip("aiohttp", reason="the remote extra is not installed")
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/IMG_1.jpg"
        assert depth(url, tmp_path / "out") == 3
        server.shutdown()
    assert capsys.readouterr().err.count(url) == 1
    assert own_file.read_bytes() == b"mine"


def test_copies_lie_in_a_folder_of_mode_0700_that_nobody_can_guess(photos, tmp_path):
    found = RemoteFile(f"file://{photos}/IMG 0.png")
    with fetched(found, GIGABYTE) as one, fetched(found, GIGABYTE) as two:
        assert one.parent != two.parent
        assert one.name == two.name == "IMG 0.png"
        assert stat.S_IMODE(one.parent.stat().st_mode) == 0o700
    assert not list(tmp_path.glob("m3d-*"))


FETCHING = """
import sys, time
from m3d_cli.photos.remote import GIGABYTE, RemoteFile, fetched
with fetched(RemoteFile(sys.argv[1]), GIGABYTE) as copy:
    print(copy, flush=True)
    time.sleep(60)
"""


def test_copies_of_a_killed_run_go_with_the_next_and_those_of_a_living_one_stay(photos, tmp_path):
    url = f"file://{photos}/IMG 0.png"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", FETCHING, url]
    foreign = tmp_path / f"{PREFIX}link"
    foreign.symlink_to(photos)
    with (
        subprocess.Popen(command, stdout=-1, text=True, env=environment) as killed,
        subprocess.Popen(command, stdout=-1, text=True, env=environment) as living,
    ):
        assert killed.stdout
        assert living.stdout
        left, kept = (Path(process.stdout.readline().rstrip()) for process in (killed, living))
        killed.kill()
        killed.wait()
        assert left.exists()
        _sweep_once.cache_clear()
        with fetched(RemoteFile(url), GIGABYTE):
            assert not left.parent.exists()
            assert kept.exists()
        living.kill()
    assert foreign.is_symlink()
    assert (photos / "IMG 0.png").exists()


def test_a_download_has_a_limit_wherever_it_comes_from(photos, tmp_path, capsys):
    pytest.importorskip("aiohttp", reason="the remote extra is not installed")
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "big.png").write_bytes(bytes(3_000_000))
    store = fsspec.filesystem("memory")
    store.pipe_file("/limit/big.png", bytes(3_000_000))

    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        urls = (f"file://{tmp_path}/big", "memory://limit", f"http://127.0.0.1:{server.server_address[1]}/big.png")
        for number, url in enumerate(urls):
            assert depth(url, tmp_path / f"out{number}", "--max-download", "0.002") == 3
            assert "TOO_LARGE" in capsys.readouterr().err
        server.shutdown()
    store.rm("/limit", recursive=True)
    assert depth(f"file://{photos}", tmp_path / "out", "--max-download", "0.002") == 0


class Endless(Quiet):
    """Sends without saying how much, and without end."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        try:
            while self.command == "GET":
                self.wfile.write(bytes(100_000))
        except OSError:
            self.close_connection = True

    do_HEAD = do_GET


def test_a_pipe_behind_a_url_is_not_waited_for(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in" / "a.jpg")
    assert depth(f"file://{tmp_path}/in/a.jpg", tmp_path / "out") == 3
    assert "not a regular file" in capsys.readouterr().err


def test_a_remote_photo_goes_to_standard_output_too(photos, plain, capfdbinary):
    url = f"file://{photos}/IMG 0.png"
    assert app.main(["depth", url, "--out", "-", "--model", "m3d-test-lite", "--device", "cpu", "-q"]) == 0
    assert capfdbinary.readouterr().out == plain["IMG 0.png"]


def test_a_machine_whose_journal_is_longer_and_older_learns_what_others_did(photos, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    on = functools.partial(monkeypatch.setenv, "M3D_CACHE")
    on(str(tmp_path / "first"))
    for _ in range(5):
        assert depth(f"file://{photos}", f"file://{out}", "--include", "*1.png", "--overwrite") == 0
    on(str(tmp_path / "second"))
    assert depth(f"file://{photos}", f"file://{out}") == 0
    assert app.main(["merge", f"file://{out}"]) == 0
    for machine in ("first", "third"):
        on(str(tmp_path / machine))
        capsys.readouterr()
        assert depth(f"file://{photos}", f"file://{out}", "--json") == 0
        assert {line["status"] for line in lines(capsys)} == {"skipped"}


def test_a_run_does_not_put_its_old_copy_over_the_journal_of_another_part(photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "second"))
    assert depth(f"file://{photos}", f"file://{out}", "--shard", "2/2") == 0
    grown = out / "m3d-run.2-of-2.jsonl"
    real = remote_out.RemoteOut.begin

    def begin(self):
        sizes = real(self)
        # Meanwhile the other machine goes on.
        grown.write_bytes(grown.read_bytes() + b'{"path": "later", "status": "error", "key": "later"}\n')
        return sizes

    monkeypatch.setattr(remote_out.RemoteOut, "begin", begin)
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "first"))
    assert depth(f"file://{photos}", f"file://{out}", "--shard", "1/2") == 0
    assert '"later"' in grown.read_text()
    # Nor does a merge remove what it has not seen.
    assert app.main(["merge", f"file://{out}"]) == 0
    assert '"later"' in grown.read_text()


class Signed(SimpleHTTPRequestHandler):
    """A photo behind addresses without a suffix and with a signature, and one that always fails."""

    def do_GET(self):
        if "broken" in self.path:
            self.send_error(500)
            return
        data = self.server.photo
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def test_a_photo_named_by_a_url_is_fetched_whatever_its_name(photos, tmp_path, capsys):
    pytest.importorskip("aiohttp", reason="the remote extra is not installed")
    with ThreadingHTTPServer(("127.0.0.1", 0), Signed) as server:
        server.photo = (photos / "IMG 0.png").read_bytes()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        listed = tmp_path / "list"
        listed.write_text(f"{base}/a/one.png?X-Signature=a/b\n{base}/two\nhttp://[::bad/x.png\n{base}/broken.png\n")
        out = tmp_path / "out"
        assert app.main(["depth", "--files-from", str(listed), "--out", str(out), *OPTIONS, "--device", "cpu"]) == 3
        server.shutdown()
    assert sorted(path.name for path in out.glob("*.png")) == ["one.png", "two.png"]
    told = capsys.readouterr().err
    assert "the server answers with status 500" in told
    assert "http://[::bad/x.png" in told
