"""``python -m m3d_cli`` is ``m3d``, ended as any Python program is: profilers and coverage see all of it."""

import sys

from m3d_cli.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
