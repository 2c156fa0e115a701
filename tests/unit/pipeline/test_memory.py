"""Memory of a long run: large blocks go back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Blocks of 16 MB, each followed by small ones that live on; the first lets glibc believe that such blocks are common.
PROGRAM = """
import numpy as np
from m3d_cli.pipeline.memory import return_large_blocks

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

if {returns}:
    assert return_large_blocks()
np.ones(1 << 21)
before, kept = resident(), []
for _ in range(10):
    large = np.ones(1 << 21)
    kept += [bytes(3000) for _ in range(100)]
    del large
    kept += [np.ones(1 << 18) for _ in range(2)]
print(resident() - before)
"""


def growth(*, returns):
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(returns=returns)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a habit of glibc's")
def test_large_blocks_go_back_to_the_system():
    kept = 10 * (100 * 3000 + 2 * (1 << 21))
    assert growth(returns=True) < kept + (4 << 20)
