"""How the C library keeps memory over a long run."""

from __future__ import annotations

import ctypes
import logging
import platform
from functools import cache

logger = logging.getLogger(__name__)

# glibc's names are macros: the number of M_MMAP_THRESHOLD in malloc.h.
_MMAP_THRESHOLD = -3

# Images and depth maps are larger, what lives long is smaller.
LARGE = 4 << 20


@cache
def return_large_blocks() -> bool:
    """Have glibc give every large block back to the system once it is freed; returns whether that was possible.

    Left to itself it keeps blocks of up to 32 MB in a heap for each thread, between small ones that live on: what a run
    holds then creeps up with the number of its photos.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, LARGE))
    except (OSError, AttributeError) as error:
        logger.debug("no mallopt: %s", error)
        return False
