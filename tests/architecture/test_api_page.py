"""The examples of docs/api.md run as they stand, and importing the package stays cheap."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, check=False, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_run_one_after_the_other() -> None:
    assert len(EXAMPLES) >= 5
    output = run("\n".join(EXAMPLES))
    assert "640 x 427 pixels" in output
    assert "138.56" in output
    assert "FocalSource.USER" in output or "user" in output
    assert "done" in output
    assert "front" in output


def test_importing_the_package_loads_neither_numpy_nor_torch() -> None:
    program = "import sys, time; a = time.perf_counter(); import m3d_cli; b = time.perf_counter(); "
    program += "print(b - a, *(name for name in ('numpy', 'torch', 'cv2', 'PIL') if name in sys.modules))"
    seconds, *loaded = run(program).split()
    assert not loaded
    assert float(seconds) < 0.05


def test_names_of_the_api_are_listed_and_others_are_refused() -> None:
    assert "load_model" in run("import m3d_cli; print(*dir(m3d_cli))")
    assert "no attribute" in run("import m3d_cli\ntry: m3d_cli.nothing\nexcept AttributeError as e: print(e)")
