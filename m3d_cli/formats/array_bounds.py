"""Images and arrays of others: what they would expand to is known before it is.

A file of a megabyte can hold numbers for gigabytes. Bounds are far from what honest files have.
"""

from __future__ import annotations

import io

from PIL import Image, PngImagePlugin  # noqa: F401 - the plugin registers itself

# Numbers of an image or array that a file may hold without being large itself, as an empty one does.
MOST_BLANK = 48_000_000
# Beyond these, numbers per byte of the file: real depth has one to four.
NUMBERS_PER_BYTE = 100
MOST_PIXELS = 512_000_000

# First bytes of the formats whose size Pillow reads from the header.
_HEADERS = ((b"\x89PNG", "PNG"), (b"\xff\xd8", "JPEG"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"))


def check_numbers(count: int, packed_bytes: int) -> None:
    """Raise ValueError for more numbers than a file of that size can sensibly hold."""
    if count > MOST_PIXELS or count > max(MOST_BLANK, packed_bytes * NUMBERS_PER_BYTE):
        raise ValueError(f"{count} numbers in {packed_bytes} bytes: more than real files hold")


def check_image(data: bytes) -> None:
    """Raise ValueError for an encoded image whose header promises more pixels than its bytes can sensibly hold."""
    plugin = next((name for head, name in _HEADERS if data.startswith(head)), None)
    if plugin is None:
        return
    Image.preinit()
    if plugin not in Image.OPEN:
        Image.init()
    width, height = Image.OPEN[plugin][0](io.BytesIO(data), "").size
    check_numbers(width * height, len(data))
