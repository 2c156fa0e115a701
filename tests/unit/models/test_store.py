"""The folder of installed weights, and which weights a run gets; without torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from platformdirs.macos import MacOS
from platformdirs.windows import Windows

from m3d_cli.errors import UsageError, WeightsError
from m3d_cli.models.catalogue import Status, entry, names
from m3d_cli.models.registry import PUBLISHED, choose_weights, default_model, published_file
from m3d_cli.models.spec import LITE, TEST_LITE
from m3d_cli.models.store import (
    Installed,
    StoredFile,
    cache_folder,
    file_name,
    find_installed,
    sha256_of,
    weights_folder,
    write_record,
)


def install(model: str, content: bytes = b"weights") -> Installed:
    """Files and record as an installation leaves them."""
    folder = weights_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "new").write_bytes(content)
    sha256 = sha256_of(folder / "new")
    stored = []
    for suffix in (".pth", ".safetensors"):
        name = file_name(model, sha256, suffix)
        (folder / name).write_bytes(content)
        stored.append(StoredFile(name, len(content), sha256))
    (folder / "new").unlink()
    installed = Installed(model, folder, "file.pth", *stored)
    write_record(installed)
    return installed


def test_the_folder_is_the_users_or_the_platforms(monkeypatch, tmp_path):
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "mine"))
    assert weights_folder() == tmp_path / "mine" / "weights"
    monkeypatch.setenv("M3D_CACHE", "~/there")
    assert cache_folder() == Path.home() / "there"
    monkeypatch.setenv("M3D_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "m3d"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "m3d"


@pytest.mark.parametrize(
    ("platform", "before"),
    [(MacOS, Path.home() / "Library" / "Caches" / "m3d"), (Windows, Path.home() / "AppData" / "Local" / "m3d")],
)
def test_the_folder_of_earlier_releases_is_still_the_folder(monkeypatch, platform, before):
    monkeypatch.delenv("M3D_CACHE", raising=False)
    monkeypatch.setattr(
        "platformdirs.windows.get_win_folder", lambda csidl_name: str(Path.home() / "AppData" / "Local")
    )
    monkeypatch.setattr(
        "m3d_cli.models.store.user_cache_path", lambda *names, **options: platform(*names, **options).user_cache_path
    )
    assert cache_folder() == before


def test_what_was_installed_is_found_again():
    assert find_installed("vit-small") is None
    installed = install("vit-small")
    assert find_installed("vit-small") == installed
    assert installed.path.read_bytes() == b"weights"


def test_a_new_installation_replaces_the_old_and_no_other():
    install("vit-small", b"old")
    others = [install("vit-large", b"old"), install("vit-small-not", b"old")]
    new = install("vit-small", b"new")
    (new.folder / "vit-small-0123456789ab.pth.part").write_bytes(b"half")
    write_record(new)
    left = {path.name for path in new.folder.iterdir()}
    expected = {f"{each.model}.json" for each in (new, *others)}
    expected |= {each.loaded.name for each in (new, *others)} | {each.checkpoint.name for each in (new, *others)}
    assert left == expected | {"vit-small-0123456789ab.pth.part"}


def test_a_file_that_went_away_is_not_installed_and_a_short_one_is_damaged():
    installed = install("vit-small")
    installed.check()
    installed.path.write_bytes(b"w")
    with pytest.raises(WeightsError, match="1 bytes, the record says 7"):
        installed.check()
    assert entry("vit-small").status is Status.DAMAGED
    installed.path.unlink()
    assert find_installed("vit-small") is None
    assert entry("vit-small").status is Status.MISSING


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: "no json",
        lambda record: "[]",
        lambda record: json.dumps({**record, "loaded": {}}),
        lambda record: json.dumps({**record, "model": "vit-large"}),
        lambda record: json.dumps({**record, "loaded": {**record["loaded"], "name": "../../etc/passwd"}}),
        lambda record: json.dumps({**record, "loaded": {**record["loaded"], "size": "7"}}),
    ],
)
def test_a_spoilt_record_is_an_error_not_a_crash(spoil):
    path = install("vit-small").folder / "vit-small.json"
    path.write_text(spoil(json.loads(path.read_text())))
    with pytest.raises(WeightsError, match="record"):
        find_installed("vit-small")
    with pytest.raises(WeightsError, match="record"):
        default_model()
    assert entry("vit-small").status is Status.DAMAGED


def test_installed_weights_are_chosen_and_named_by_their_checkpoint():
    installed = install(TEST_LITE.name)
    chosen = choose_weights(TEST_LITE)
    assert (chosen.path, chosen.sha256) == (installed.path, installed.checkpoint.sha256)
    chosen.check()
    installed.path.write_bytes(b"")
    with pytest.raises(WeightsError, match="hint: m3d weights pull"):
        choose_weights(TEST_LITE).check()


def test_ones_own_file_goes_before_what_is_installed(tmp_path):
    install(TEST_LITE.name)
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    assert choose_weights(TEST_LITE, mine).path == mine
    assert choose_weights(LITE).vouched is not None


def test_the_default_is_the_better_network_once_it_is_installed():
    assert default_model() == "lite"
    install("vit-small")
    assert default_model() == "vit-small"


def test_own_weights_are_told_from_published_ones():
    install("vit-small")
    mine = entry("vit-small")
    assert (mine.status, mine.origin, mine.licence, mine.is_usable) == (Status.OWN, "file.pth", "as you have it", True)
    assert entry("vit-large").status is Status.MISSING
    assert not entry("vit-large").is_usable


def test_what_has_no_published_weights_is_a_usage_error():
    with pytest.raises(UsageError, match=r"one of .*vit-small"):
        published_file("none")
    with pytest.raises(UsageError, match="no weights of its own"):
        entry("m3d-test-lite")


def test_every_published_file_is_named_with_a_checksum():
    assert names() == ["lite", *PUBLISHED]
    for name, file in PUBLISHED.items():
        assert file.model == name
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.url == f"https://huggingface.co/JUGGHM/Metric3D/resolve/main/{file.file}"
        assert file.size > 100_000_000
    assert len({file.sha256 for file in PUBLISHED.values()}) == len(PUBLISHED)
