"""Where an installation came from decides how it is extended."""

from __future__ import annotations

import json
import re
import shlex
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from m3d_cli import extras
from m3d_cli.extras import install_hint

ROOT = Path(__file__).parents[2]


class Recorded:
    """A distribution whose installer left ``record``."""

    def __init__(self, record: dict[str, object] | None) -> None:
        self.record = record

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self.record is None else json.dumps(self.record)


@pytest.mark.parametrize(
    ("record", "command"),
    [
        (None, "pip install 'm3d-cli[video]'"),
        (
            {"url": "file:///home/me/my%20m3d", "dir_info": {"editable": True}},
            "pip install -e '/home/me/my m3d[video]'",
        ),
        ({"url": "file:///home/me/m3d", "dir_info": {}}, "pip install -e '/home/me/m3d[video]'"),
        (
            {"url": "https://example.org/m3d.git", "vcs_info": {"vcs": "git", "commit_id": "0"}},
            "pip install 'm3d-cli[video] @ git+https://example.org/m3d.git'",
        ),
        (
            {"url": "file:///tmp/m3d_cli-0.1.0.whl", "archive_info": {}},
            "pip install 'm3d-cli[video] @ file:///tmp/m3d_cli-0.1.0.whl'",
        ),
    ],
)
def test_an_extra_comes_from_where_m3d_came(monkeypatch, record, command):
    monkeypatch.setattr(extras, "distribution", lambda name: Recorded(record))
    assert install_hint("video") == command
    assert len(shlex.split(command)) == (4 if " -e " in command else 3)


def test_a_tree_that_was_never_installed_names_itself(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", missing)
    assert install_hint("raw") == f"pip install -e '{ROOT}[raw]'"


def test_every_extra_that_a_hint_names_exists():
    declared = set(
        re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text().split("optional-dependencies]")[1], re.M)
    )
    code = "".join(path.read_text() for path in sorted((ROOT / "m3d_cli").rglob("*.py")))
    named = set(re.findall(r"""install_hint\(["'](\w+)["']\)""", code))
    assert len(named) >= 9
    assert named <= declared
    assert "'m3d-cli[" not in code
