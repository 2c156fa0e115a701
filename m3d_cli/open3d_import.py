"""open3d, imported only where it is used: its wheel is large and wants libusb, which a bare machine does not have."""

from __future__ import annotations

import ctypes
import functools
from types import ModuleType

from m3d_cli.errors import M3dError


@functools.cache
def load_open3d() -> ModuleType:
    """The open3d module; its libusb comes from the ``libusb-package`` wheel where the system has none."""
    try:
        import libusb_package

        ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
    except (ImportError, OSError):
        pass  # the system's own library may do
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise M3dError(
            f"open3d cannot be imported ({error})",
            hint="pip install open3d-cpu libusb-package; for a missing lib*.so, install that system library",
            code="NO_OPEN3D",
        ) from error
    return open3d
