"""Names of photos as texts: globs, and paths that stay below the output folder."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

GLOB_CHARACTERS = re.compile(r"[*?\[]")


def fixed_prefix(pattern: str) -> str:
    """Folder part of a glob before its first special character."""
    parts = pattern.split(os.sep)  # noqa: PTH206 - a Path would drop a leading "./" and "//"
    fixed: list[str] = []
    for part in parts[:-1]:
        if GLOB_CHARACTERS.search(part):
            break
        fixed.append(part)
    return "/".join(fixed) or (os.sep if pattern.startswith(os.sep) else ".")


def mirrored(relative: str) -> PurePosixPath:
    """``relative`` as a path that stays below the output folder whatever it was made of."""
    parts = relative.replace(os.sep, "/").split("/")
    return PurePosixPath(*[part for part in parts if part not in ("", ".", "..")] or ["_"])


def safe_name(pattern: str) -> str:
    """The last part of a glob or an address, without special characters."""
    return GLOB_CHARACTERS.sub("_", os.path.basename(pattern)) or "_"  # noqa: PTH119
