"""What the documents say is what the code does."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from m3d_cli.cli.app import app
from m3d_cli.models.registry import BUNDLED, PUBLISHED
from m3d_cli.models.spec import SPECS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
WEIGHTS_MD = (ROOT / "weights.md").read_text(encoding="utf-8")
WEIGHTS = " ".join(WEIGHTS_MD.split())
MENTIONED = sorted(set(re.findall(r"(?:^|\| )m3d [a-z][^|#`\n]*", f"{README}\n{DOCS}", flags=re.MULTILINE)))


def known_options(words: list[str]) -> set[str]:
    """Options of the command that ``words`` start with; fails on a command that does not exist."""
    command = get_command(app)
    while isinstance(command, typer.core.TyperGroup) and not words[0].startswith("-"):
        word = words.pop(0)
        command = command.commands.get(word) or command.commands[getattr(command, "default", word)]
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def test_readme_and_docs_show_commands() -> None:
    assert len(MENTIONED) >= 40


@pytest.mark.parametrize("line", MENTIONED)
def test_a_command_of_readme_or_docs_exists_with_its_options(line: str) -> None:
    words = shlex.split(line.lstrip("| "))[1:]
    options = known_options(words)
    used = {word.split("=")[0] for word in words if word.startswith("-") and word != "-"}
    assert used <= options | {"--help"}


def test_the_readmes_two_commands_start_from_nothing() -> None:
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv")]
    assert len(commands) == 2
    assert "m3d depth -r tests/data/photos" in commands[0]
    assert " -m pytest -q" in commands[1]


def test_weights_md_is_the_registry_in_words() -> None:
    for name, file in BUNDLED.items():
        spec = SPECS[name]
        for fact in (name, file.path.name, str(file.size), file.sha256, spec.licence, spec.accuracy, spec.weak_at):
            assert fact, name
            assert fact in WEIGHTS


def test_weights_md_lists_the_published_files() -> None:
    for file in PUBLISHED.values():
        size = str(file.size) if file.is_size_exact else f"about {file.size / 1e6:.0f} MB"
        assert f"| `{file.model}` | `{file.file}` | {size} | `{file.sha256}` |" in WEIGHTS
        assert file.licence in WEIGHTS
        assert file.url.removesuffix(file.file) + "FILE" in WEIGHTS
        assert file.model in SPECS
    rows = re.findall(r"\| `([a-z0-9-]+)` \| `[^`]+`[^|]*\| [^|]+ \| `[0-9a-f]{64}` \|", WEIGHTS)
    assert rows == [*BUNDLED, *PUBLISHED]


@pytest.mark.parametrize("line", re.findall(r"^    (m3d [^#\n]*)", WEIGHTS_MD, flags=re.MULTILINE))
def test_a_command_of_weights_md_exists_with_its_options(line: str) -> None:
    words = shlex.split(line)[1:]
    assert {word for word in words if word.startswith("--")} <= known_options(words)


def test_weights_md_shows_the_ablation_as_it_was_measured() -> None:
    ablation = runpy.run_path(str(ROOT / "bench" / "ablation.py"))
    rows = json.loads((ROOT / "bench" / "ablation" / "results.json").read_text(encoding="utf-8"))["rows"]
    assert ablation["tables"](rows) in WEIGHTS_MD


def test_bundled_files_stay_small() -> None:
    assert sum(file.path.stat().st_size for file in BUNDLED.values()) <= 50_000_000


def test_links_of_readme_and_docs_lead_to_files() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).is_file(), f"{page.name}: {target}"
