"""``python -m m3d_cli`` is ``m3d``."""

from m3d_cli.cli.app import program

if __name__ == "__main__":
    program()
