"""Limits that keep the package readable: lengths of files and functions, and the words of the glossary."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = sorted((ROOT / "m3d_cli").rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "weights.md", *sorted((ROOT / "docs").glob("*.md"))]
LONGEST_FUNCTION, MOST_PARAMETERS, LONGEST_FILE = 60, 12, 400

# Words that are not used in these senses; see "Words" in the style guide.
AVOIDED = (
    r"\btold by\b",
    r"\bwish(?:es|ed)?\b",
    r"\bcrew\b",
    r"\blending\b",
    r"\bhold(?:s|ing)? .{1,40} against\b",
    r"\bheld against\b",
    r"\bstraightened\b",
    r"\bbreaks off\b",
    r"\bis told\b",
    r"\bare told\b",
    r"\b(?:photos|images|frames|images|steps) a second\b",
    r"\bobject references?\b",
    r"\bthat exists already\b",
)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_and_files_are_short(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= LONGEST_FILE
    for function in functions(path):
        arguments = function.args
        count = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs)
        assert (function.end_lineno or 0) - function.lineno < LONGEST_FUNCTION, function.name
        assert count <= MOST_PARAMETERS, function.name


def test_the_command_line_is_thin() -> None:
    files = (ROOT / "m3d_cli" / "cli").glob("*.py")
    assert sum(path.read_text(encoding="utf-8").count("\n") for path in files) <= 2600


def test_the_readme_is_read_in_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1200


@pytest.mark.parametrize("pattern", AVOIDED)
def test_words_of_the_glossary_are_used(pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in (*PACKAGE, *PAGES)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line, flags=re.IGNORECASE)
    ]
    assert not found, "\n".join(found)
