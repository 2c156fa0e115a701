"""How to install what an option needs, from where this m3d itself came."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

DISTRIBUTION = "m3d-cli"


def install_hint(extra: str) -> str:
    """The command that adds ``extra`` (``[project.optional-dependencies]``).

    A wheel of an index is asked for by name; a checkout by its folder, an archive or a repository by its URL, as the
    installer recorded it (PEP 610).
    """
    try:
        record = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:
        return _from_folder(Path(__file__).parent.parent, extra)
    origin = json.loads(record) if record else {}
    url = str(origin.get("url", ""))
    if not url:
        return f"pip install {_quoted(f'{DISTRIBUTION}[{extra}]')}"
    if "dir_info" in origin:
        return _from_folder(Path(unquote(urlsplit(url).path)), extra)
    version_control = origin.get("vcs_info", {}).get("vcs")
    address = f"{version_control}+{url}" if version_control else url
    return f"pip install {_quoted(f'{DISTRIBUTION}[{extra}] @ {address}')}"


def _from_folder(folder: Path, extra: str) -> str:
    return f"pip install -e {_quoted(f'{folder}[{extra}]')}"


def _quoted(text: str) -> str:
    """Brackets are a pattern to a shell, whatever else stands in the name."""
    quoted = shlex.quote(text)
    return quoted if quoted.startswith("'") else f"'{quoted}'"
