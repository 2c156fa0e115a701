"""``m3d weights`` against a stand-in hub on loopback: what is fetched, what is refused, and what stays as it was."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from m3d_cli.cli import app
from m3d_cli.models import load_weights
from m3d_cli.models.convert import to_official
from m3d_cli.models.metric3d import build_network
from m3d_cli.models.registry import PUBLISHED, PublishedFile
from m3d_cli.models.store import find_installed, sha256_of, weights_folder

MODEL = "m3d-test-vit"
CALLED = "tiny.pth"
CHUNK = 1 << 16


class Hub(ThreadingHTTPServer):
    """Serves one file as the hub does: a redirect with size and checksum, then the bytes, from any place on."""

    daemon_threads = True

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.data = data
        self.tag = hashlib.sha256(data).hexdigest()
        self.asked: list[str] = []
        # Bytes after which the next answers end too early; the last of them holds the line instead if told so.
        self.cuts: list[int] = []
        self.holds = threading.Event()
        self.holds.set()
        self.is_endless = False
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def ranges(self) -> list[str]:
        """Where each download began."""
        return [line.removeprefix("GET ") for line in self.asked if line.startswith("GET ")]


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.server.asked.append("HEAD")
        if self._is_known():
            return self._redirect()
        self.send_response(404)
        self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def do_GET(self) -> None:
        if not self._is_known():
            return self.send_error(404)
        if not self.path.startswith("/cdn/"):
            return self._redirect()
        self._send()
        return None

    def _is_known(self) -> bool:
        return self.path in (f"/JUGGHM/Metric3D/resolve/main/{CALLED}", f"/cdn/{CALLED}")

    def _redirect(self) -> None:
        self.send_response(302)
        # The bytes lie on another host, as on the real one.
        self.send_header("Location", f"http://localhost:{self.server.server_port}/cdn/{CALLED}")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("X-Linked-Size", str(len(self.server.data)))
        self.send_header("X-Linked-Etag", f'"{self.server.tag}"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self) -> None:
        if self.server.is_endless:
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            with suppress(OSError):
                while True:
                    self.wfile.write(b"\0" * CHUNK)
                    self.server.sent += CHUNK
            return
        asked = self.headers.get("Range", "bytes=0-")
        self.server.asked.append(f"GET {asked}")
        begin = int(asked.removeprefix("bytes=").rstrip("-"))
        data = self.server.data[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data)))
        if begin:
            total = len(self.server.data)
            self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        self.end_headers()
        if not self.server.cuts:
            self.wfile.write(data)
            return
        self.wfile.write(data[: self.server.cuts.pop(0)])
        self.wfile.flush()
        self.server.holds.wait(60)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(data: bytes) -> Iterator[Hub]:
    with Hub(data) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.holds.set()
            hub.shutdown()
            thread.join()


def official(seed: int = 0) -> dict[str, torch.Tensor]:
    """The tiny network's tensors under the published names."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return to_official(MODEL, build_network(MODEL).state_dict())


def save(path: Path, state: object) -> Path:
    torch.save({"model_state_dict": state}, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("published") / CALLED, official())


@pytest.fixture
def published(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedFile:
    """The tiny checkpoint as if its authors published it."""
    file = PublishedFile(MODEL, CALLED, checkpoint.stat().st_size, sha256_of(checkpoint))
    monkeypatch.setitem(PUBLISHED, MODEL, file)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)
    return file


@pytest.fixture
def hub(checkpoint: Path, published: PublishedFile, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(checkpoint.read_bytes()) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def weights(*arguments: object) -> int:
    return app.main(["weights", *map(str, arguments)])


def program(published: PublishedFile, *arguments: object) -> list[str]:
    """The command line that runs ``m3d weights`` in a program of its own, which knows the tiny checkpoint too."""
    facts = (published.model, published.file, published.size, published.sha256)
    code = (
        "import sys; from huggingface_hub import constants; from m3d_cli.cli.app import main;"
        "from m3d_cli.models.registry import PUBLISHED, PublishedFile;"
        f"PUBLISHED[{MODEL!r}] = PublishedFile(*{facts!r}); constants.DOWNLOAD_CHUNK_SIZE = {CHUNK};"
        "sys.exit(main(['weights', *sys.argv[1:]]))"
    )
    return [sys.executable, "-c", code, *map(str, arguments)]


def contents() -> dict[str, str]:
    """Every file of the folder with its checksum."""
    files = (path for path in weights_folder().glob("*") if path.suffix != ".lock")
    return {path.name: sha256_of(path) for path in files}


def assert_installed(checkpoint: Path) -> None:
    installed = find_installed(MODEL)
    assert installed is not None
    assert installed.sha256 == sha256_of(checkpoint)
    assert set(contents()) == {installed.path.name, installed.checkpoint_path.name, f"{MODEL}.json"}
    expected, found = (build_network(MODEL) for _ in range(2))
    load_weights(expected, checkpoint)
    load_weights(found, installed.path)
    for key, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[key], value)


# Pulling.


def test_a_pull_installs_the_published_weights(hub, checkpoint, capsys):
    assert weights("pull", MODEL) == 0
    output = capsys.readouterr()
    assert_installed(checkpoint)
    assert output.out.strip() == str(find_installed(MODEL).path)
    assert f"fetching {CALLED}, 3 MB" in output.err
    assert weights("path", MODEL) == 0
    assert capsys.readouterr().out == output.out
    assert weights("verify", MODEL) == 0
    assert capsys.readouterr().out.split(maxsplit=2)[1:] == ["ok", "as published\n"]


def test_a_second_pull_asks_nothing_of_the_hub(hub, capsys):
    assert weights("pull", MODEL) == 0
    before, asked = contents(), list(hub.asked)
    assert weights("pull", MODEL) == 0
    assert hub.asked == asked
    assert contents() == before
    assert "installed already" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["import", "pull"])
def test_what_a_program_killed_at_its_end_left_is_removed_by_the_next(command, hub, checkpoint):
    assert weights("import", checkpoint) == 0
    before = contents()
    for ending in (".pth", ".safetensors"):
        (weights_folder() / f"{MODEL}-0123456789ab{ending}").write_bytes(b"of earlier weights")
    assert weights(command, checkpoint if command == "import" else MODEL) == 0
    assert contents() == before


def test_a_connection_cut_in_the_middle_goes_on_where_it_was_cut(hub, checkpoint):
    half = len(hub.data) // 2
    hub.cuts = [half]
    assert weights("pull", MODEL) == 0
    assert_installed(checkpoint)
    first, second = hub.ranges
    assert first == "bytes=0-"
    assert half - CHUNK < int(second.removeprefix("bytes=").rstrip("-")) <= half


def test_a_program_killed_in_the_middle_leaves_what_the_next_goes_on_from(hub, published, checkpoint):
    half = len(hub.data) // 2
    hub.cuts = [half]
    hub.holds.clear()
    part = weights_folder() / f"{MODEL}-{published.sha256[:12]}.pth.part"
    with subprocess.Popen(program(published, "pull", MODEL), stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: part.exists() and part.stat().st_size > half - 2 * CHUNK)
        process.kill()
    have = part.stat().st_size
    hub.holds.set()
    assert weights("pull", MODEL) == 0
    assert_installed(checkpoint)
    assert hub.ranges == ["bytes=0-", f"bytes={have}-"]


def wait_for(condition):
    patience = threading.Event()
    for _ in range(600):
        if condition():
            return
        patience.wait(0.1)
    raise AssertionError("waited a minute")


def test_a_corrupted_download_never_gets_the_name(hub, checkpoint, capsys, tmp_path):
    assert weights("import", save(tmp_path / "mine.pth", official(1)), "--name", MODEL) == 0
    before = contents()
    capsys.readouterr()
    hub.data = hub.data[:100_000] + b"\0" * 8 + hub.data[100_008:]
    assert weights("pull", MODEL) == 5
    assert "the checksum is wrong" in capsys.readouterr().err
    assert contents() == before
    hub.data = checkpoint.read_bytes()
    assert weights("pull", MODEL) == 0
    assert_installed(checkpoint)


def test_another_file_on_the_hub_is_refused_before_a_byte_of_it_comes(hub, capsys):
    hub.tag = "1" * 64
    assert weights("pull", MODEL) == 5
    assert "not the published file any more" in capsys.readouterr().err
    hub.data += b"more"
    assert weights("pull", MODEL) == 5
    assert hub.ranges == []


def test_a_size_that_is_not_known_exactly_is_taken_from_the_hub(hub, published, checkpoint, monkeypatch):
    monkeypatch.setitem(PUBLISHED, MODEL, replace(published, size=2_000_000, is_size_exact=False))
    assert weights("pull", MODEL) == 0
    assert_installed(checkpoint)


def test_a_mirror_that_sends_for_ever_is_left_at_the_published_size(hub, published, capsys, monkeypatch):
    hub.is_endless = True
    for exact in (True, False):
        monkeypatch.setitem(PUBLISHED, MODEL, replace(published, is_size_exact=exact))
        assert weights("pull", MODEL) == 5
        assert "the hub sends more than the" in capsys.readouterr().err
    assert sum(path.stat().st_size for path in weights_folder().glob("*")) == 0
    hub.is_endless = False
    assert weights("pull", MODEL) == 0


def test_what_the_hub_lacks_or_a_dead_hub_is_told_with_the_way_out(hub, published, capsys, monkeypatch):
    monkeypatch.setitem(PUBLISHED, MODEL, replace(published, file="other.pth"))
    assert weights("pull", MODEL) == 5
    assert "the hub has no JUGGHM/Metric3D/other.pth" in capsys.readouterr().err
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert weights("pull", MODEL) == 5
    told = capsys.readouterr().err
    assert "the hub cannot be reached" in told
    assert "m3d weights import FILE" in told


def test_offline_mode_says_what_to_do(hub, published):
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = program(published, "pull", MODEL)
    done = subprocess.run(command, capture_output=True, check=False, timeout=60, env=environment, text=True)
    assert done.returncode == 5
    assert "HF_HUB_OFFLINE forbids downloads" in done.stderr
    assert published.url in done.stderr
    assert done.stdout == ""
    assert hub.asked == []


def test_two_programs_that_pull_at_once_fetch_once(hub, published, checkpoint):
    hub.cuts = [len(hub.data)]
    hub.holds.clear()
    command = program(published, "pull", MODEL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        waiting = threading.Timer(3.0, hub.holds.set)
        waiting.start()
        told = [process.communicate(timeout=120) for process in (one, other)]
        waiting.join()
    assert (one.returncode, other.returncode) == (0, 0), told
    assert told[0][0] == told[1][0]
    assert hub.ranges == ["bytes=0-"]
    assert_installed(checkpoint)


def test_a_forced_pull_mends_from_the_checkpoint_without_the_hub(hub, checkpoint):
    assert weights("pull", MODEL) == 0
    asked = list(hub.asked)
    damage(find_installed(MODEL).path)
    assert weights("verify", MODEL) == 5
    assert weights("pull", MODEL, "--force") == 0
    assert hub.asked == asked
    assert weights("verify", MODEL) == 0
    assert_installed(checkpoint)


def test_a_full_disk_is_told_before_and_during_the_download(hub, published, capsys, monkeypatch):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    command = program(published, "pull", MODEL)
    done = subprocess.run(command, capture_output=True, check=False, timeout=60, text=True, preexec_fn=limited)
    assert done.returncode == 5
    assert "cannot be written (File too large). hint: check space and permissions" in done.stderr
    assert find_installed(MODEL) is None
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000}))
    assert weights("pull", MODEL) == 5
    assert "0.0 GB are free. hint: M3D_CACHE moves the folder" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told(hub, capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "file"))
    assert weights("pull", MODEL) == 5
    assert "cannot be written" in capsys.readouterr().err


# Importing.


def test_a_carried_checkpoint_is_known_by_its_checksum(published, checkpoint, capsys, tmp_path):
    carried = tmp_path / "download(1).bin"
    carried.write_bytes(checkpoint.read_bytes())
    assert weights("import", carried) == 0
    assert capsys.readouterr().err == ""
    assert_installed(checkpoint)
    assert carried.exists()
    assert weights("import", carried) == 0
    assert "installed already" in capsys.readouterr().err


def test_weights_of_ones_own_need_a_name_and_are_called_so(published, capsys, tmp_path):
    mine = save(tmp_path / "mine.pth", official(1) | {"depth_model.encoder.mask_token": torch.zeros(1, 48)})
    assert weights("import", mine) == 5
    assert "say which network with --name" in capsys.readouterr().err
    assert weights("import", mine, "--name", MODEL) == 0
    assert f"not the published weights; results will name yours by their checksum {sha256_of(mine)}" in (
        capsys.readouterr().err
    )
    assert_installed(mine)
    assert weights("verify", MODEL) == 0
    assert "weights of your own, as recorded" in capsys.readouterr().out


def test_our_own_safetensors_can_be_carried_too(published, checkpoint, tmp_path):
    assert weights("import", checkpoint) == 0
    carried = tmp_path / "carried.safetensors"
    carried.write_bytes(find_installed(MODEL).path.read_bytes())
    assert weights("import", carried, "--name", MODEL) == 0
    assert_installed(carried)
    assert weights("verify", MODEL) == 0


def test_a_name_that_contradicts_the_checksum_or_is_none_is_refused(published, checkpoint):
    assert weights("import", checkpoint, "--name", "vit-small") == 5
    assert weights("import", checkpoint, "--name", "lite") == 5
    assert weights("import", __file__, "--name", "lite") == 2
    assert weights("import", __file__, "--name", "m3d-test-lite") == 2
    assert weights("import", "none.pth") == 5
    assert contents() == {}


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("boom"),)


def without_a_key(path):
    state = official()
    del state["depth_model.decoder.depth_regressor.0.weight"]
    save(path, state)


def with_a_key_more(path):
    save(path, official() | {"depth_model.decoder.sixth_finger": torch.zeros(1)})


def with_another_shape(path):
    save(path, official() | {"depth_model.decoder.depth_regressor.0.weight": torch.zeros(3, 3)})


def with_whole_numbers(path):
    state = official()
    key = "depth_model.decoder.depth_regressor.0.weight"
    save(path, state | {key: state[key].to(torch.int32)})


def truncated(path):
    save(path, official())
    path.write_bytes(path.read_bytes()[:-50_000])


def bomb(path):
    save(path, official() | {"depth_model.bomb": Bomb()})


def bare_pickle(path):
    path.write_bytes(pickle.dumps(Bomb()))


def old_format(path):
    torch.save(official(), path, _use_new_zipfile_serialization=False)


def a_list(path):
    torch.save([torch.zeros(2)], path)


def empty(path):
    path.write_bytes(b"")


BAD = {
    without_a_key: "missing: depth_model.decoder.depth_regressor.0.weight",
    with_a_key_more: "unexpected: depth_model.decoder.sixth_finger",
    with_another_shape: "depth_model.decoder.depth_regressor.0.weight (3, 3) instead of",
    with_whole_numbers: "no plain numbers of the expected kind",
    truncated: "the weights cannot be read",
    bomb: "holds more than tensors and was not read",
    bare_pickle: "a bare pickle is refused because reading it can run any code",
    old_format: "neither safetensors nor a checkpoint of torch 1.6 or newer",
    a_list: "no dictionary of tensors",
    empty: "not a readable weights file",
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_a_bad_checkpoint_is_refused_and_the_good_one_stays(
    spoil, published, checkpoint, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert weights("import", checkpoint) == 0
    before = contents()
    spoil(tmp_path / "bad.pth")
    capsys.readouterr()
    assert weights("import", "bad.pth", "--name", MODEL) == 5
    told = capsys.readouterr().err
    assert "bad.pth: " in told
    assert BAD[spoil] in told
    assert contents() == before
    assert not Path("boom").exists()


def test_a_wrong_checksum_is_told_from_an_unknown_file(published, checkpoint, capsys, tmp_path):
    carried = tmp_path / CALLED
    carried.write_bytes(checkpoint.read_bytes()[:-8] + b"\0" * 8)
    assert weights("import", carried) == 5
    assert f"as large as the published file of {MODEL}, but the checksum is wrong" in capsys.readouterr().err
    assert contents() == {}


# Verifying and listing.


def damage(path, place=-100):
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


def recorded_anew(name):
    """Make the record agree with what the file is now."""
    path = weights_folder() / f"{MODEL}.json"
    fields = json.loads(path.read_text())
    fields[name]["sha256"] = sha256_of(weights_folder() / fields[name]["name"])
    path.write_text(json.dumps(fields))


def test_an_altered_file_is_noticed_even_when_the_record_was_altered_too(published, checkpoint, capsys):
    assert weights("import", checkpoint) == 0
    damage(find_installed(MODEL).path)
    assert weights("verify", MODEL) == 5
    assert "the checksum is wrong" in capsys.readouterr().err
    recorded_anew("loaded")
    assert weights("verify", MODEL) == 5
    assert "is not what the checkpoint holds" in capsys.readouterr().err


def test_an_altered_checkpoint_is_noticed(published, checkpoint, capsys):
    assert weights("import", checkpoint) == 0
    damage(find_installed(MODEL).checkpoint_path)
    assert weights("verify", MODEL) == 5
    assert "the checksum is wrong" in capsys.readouterr().err


def test_a_removed_checkpoint_is_no_damage_but_is_said(published, checkpoint, capsys):
    assert weights("import", checkpoint) == 0
    find_installed(MODEL).checkpoint_path.unlink()
    assert weights("verify", MODEL, "--json") == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (row["name"], row["status"]) == (MODEL, "ok")
    assert "the record alone vouches" in row["found"]


def test_one_damaged_file_does_not_stop_the_others_from_being_verified(published, checkpoint, capsys, monkeypatch):
    monkeypatch.setattr("m3d_cli.models.verify.names", lambda: [MODEL, "lite"])
    assert weights("import", checkpoint) == 0
    damage(find_installed(MODEL).path)
    capsys.readouterr()
    assert weights("verify") == 5
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [[MODEL, "failed"], ["lite", "ok"]]


def test_the_list_says_what_is_there(capsys):
    assert weights("list") == 0
    text = capsys.readouterr().out
    assert "lite            installed" in text
    assert "about 813 MB" in text
    assert "m3d-test" not in text
    assert weights("list", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == ["lite", *(name for name in PUBLISHED if not name.startswith("m3d-test"))]
    assert {row["status"] for row in rows[1:]} == {"missing"}
    assert all(row["licence"] and len(row["sha256"]) == 64 for row in rows)


def test_what_is_not_installed_has_no_path(capsys):
    assert weights("path", "vit-small") == 5
    assert weights("verify", "vit-small") == 5
    assert "hint: m3d weights pull vit-small" in capsys.readouterr().err
    assert weights("path", "none") == 2
    assert weights("pull", "none") == 2
    assert weights("path", "lite") == 0
    assert weights("pull", "lite") == 0
    assert [Path(line).name for line in capsys.readouterr().out.splitlines()] == ["lite.safetensors"] * 2


def test_listing_loads_neither_torch_nor_the_hubs_client():
    code = (
        "import sys; from m3d_cli.cli.app import main;"
        "codes = [main(['weights', 'list']), main(['weights', 'path', 'lite']), main(['weights', 'verify'])];"
        "found = {'torch', 'huggingface_hub'} & set(sys.modules);"
        "sys.exit(f'{codes} {found}' if any(codes) or found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


# What runs do with them.


def depth(out, *arguments):
    photo = Path(__file__).parents[1] / "data" / "photos" / "palace.jpg"
    code = app.main(["depth", str(photo), "--out", str(out), "--device", "cpu", *map(str, arguments)])
    side = out / "palace.json"
    return code, json.loads(side.read_text())["model"] if side.exists() else None


def test_a_run_names_its_weights_by_the_published_checksum_however_they_came(published, checkpoint, tmp_path):
    code, from_file = depth(tmp_path / "file", "--model", MODEL, "--weights", checkpoint)
    assert code == 0
    assert weights("import", checkpoint) == 0
    code, from_store = depth(tmp_path / "store", "--model", MODEL)
    assert code == 0
    assert from_file["weights_sha256"] == from_store["weights_sha256"] == published.sha256
    first, second = (np.asarray(Image.open(tmp_path / name / "palace.png"), np.int64) for name in ("file", "store"))
    # Some processors round sums differently where weights lie elsewhere in memory, as mapped ones do.
    assert np.abs(first - second).max() <= 1


def test_a_run_notices_damaged_weights_before_it_uses_them(published, checkpoint, capsys, tmp_path):
    assert weights("import", checkpoint) == 0
    installed = find_installed(MODEL).path
    installed.write_bytes(installed.read_bytes()[:-1])
    assert depth(tmp_path / "out", "--model", MODEL) == (5, None)
    assert f"hint: m3d weights pull {MODEL} --force" in capsys.readouterr().err


def test_a_run_without_weights_says_how_to_get_them(capsys, tmp_path):
    assert depth(tmp_path / "out", "--model", "vit-small") == (5, None)
    assert "not installed. hint: m3d weights pull vit-small, or give a file with --weights" in capsys.readouterr().err


@pytest.mark.parametrize("spoil", [without_a_key, truncated, bomb], ids=lambda spoil: spoil.__name__)
def test_a_bad_file_of_ones_own_ends_a_run(spoil, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spoil(tmp_path / "bad.pth")
    assert depth(tmp_path / "out", "--model", MODEL, "--weights", "bad.pth") == (5, None)
    assert BAD[spoil] in capsys.readouterr().err
    assert not Path("boom").exists()


def test_a_run_that_names_no_network_is_told_once_of_the_better_one(capsys, tmp_path, monkeypatch):
    arguments = (tmp_path / "out", "--dry-run")
    assert depth(*arguments) == (0, None)
    assert capsys.readouterr().err.count("network: lite, small and bundled; m3d weights pull vit-small") == 1
    assert depth(*arguments, "--model", "lite") == (0, None)
    assert depth(*arguments, "-q") == (0, None)
    monkeypatch.setenv("M3D_MODEL", "lite")
    assert depth(*arguments) == (0, None)
    assert "small and bundled" not in capsys.readouterr().err
