"""Frames of a clip: what an earlier run says of itself is input like any other."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from m3d_cli.sequences import extract as module
from m3d_cli.sequences.extract import MANIFEST, Extraction, Sampling, extract


class Empty:
    """A clip without frames."""

    notes = ()
    facts = SimpleNamespace(focal_35mm=None)

    def __init__(self, path):
        pass

    def frames(self):
        return iter(())

    def close(self):
        pass


@pytest.mark.parametrize(
    "words",
    [
        {"frames": "many", "notes": []},
        {"frames": 3},
        {"frames": 1e999, "notes": []},
        {"frames": 3, "notes": None},
        {"frames": True, "notes": []},
    ],
    ids=repr,
)
def test_an_unsound_manifest_is_no_finished_run(tmp_path, monkeypatch, words):
    clip = tmp_path / "a.mp4"
    clip.touch()
    monkeypatch.setattr(module, "Clip", Empty)
    folder = tmp_path / "frames"
    folder.mkdir()
    known = {"clip": module._identity(clip, Sampling()), **words}
    (folder / MANIFEST).write_text(json.dumps(known))
    assert extract(clip, folder, Sampling(), lambda: None) == Extraction(0, ())
