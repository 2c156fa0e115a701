"""Structure from motion: the folder it works in."""

from __future__ import annotations

import pytest

from m3d_cli.errors import UsageError
from m3d_cli.sequences import sfm


class Begun(Exception):
    """COLMAP was asked for its first step."""


class Colmap:
    class CameraMode:
        AUTO = SINGLE = None

    class ImageReaderOptions:
        pass

    def extract_features(self, *arguments, **options):
        raise Begun


@pytest.fixture(autouse=True)
def _colmap(monkeypatch):
    monkeypatch.setattr(sfm, "_colmap", Colmap)


def test_a_folder_of_that_name_with_other_files_is_refused_and_kept(tmp_path):
    own = tmp_path / "sfm" / "notes.txt"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(UsageError, match=r"not of m3d slam sfm"):
        sfm.structure_from_motion(tmp_path, [], tmp_path / "sfm", None, sequential=True)
    assert own.read_text() == "mine"


def test_what_an_interrupted_run_left_is_begun_anew(tmp_path):
    half = tmp_path / "sfm" / sfm.DATABASE
    half.parent.mkdir()
    half.write_bytes(b"half")
    with pytest.raises(Begun):
        sfm.structure_from_motion(tmp_path, [], tmp_path / "sfm", None, sequential=True)
    assert not half.exists()
