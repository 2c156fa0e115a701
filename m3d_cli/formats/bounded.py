"""Files of others read within bounds: what they would expand to is known before it is, and every error names the file.

A file of a megabyte can hold numbers for gigabytes, names nested ten thousand deep, and whatever makes a parser raise
an exception of its own. Bounds are far from what honest files have.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin  # noqa: F401 - the plugin registers itself

from m3d_cli.errors import M3dError

MOST_TEXT_BYTES = 200_000_000
# Numbers, texts, lists and objects in a JSON file: about 60 bytes of memory each.
MOST_JSON_VALUES = 4_000_000
# Values in the JSON of a data set, which lists every frame.
MOST_LISTED_VALUES = 40_000_000
# Numbers of an image or array that a file may hold without being large itself, as an empty one does.
MOST_BLANK = 48_000_000
# Beyond these, numbers per byte of the file: real depth has one to four.
NUMBERS_PER_BYTE = 100
MOST_PIXELS = 512_000_000

# First bytes of the formats whose size Pillow reads from the header.
_HEADERS = ((b"\x89PNG", "PNG"), (b"\xff\xd8", "JPEG"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"))


@contextmanager
def reading(path: Path, kind: type[M3dError], what: str, hint: str = "") -> Iterator[None]:
    """Turn whatever reading ``path`` raises into one error of ``kind`` that names it; ``what`` says what it is not."""
    try:
        yield
    except M3dError:
        raise
    except OSError as error:
        raise kind(f"{path}: cannot be read ({error.strerror or error})", hint=hint) from error
    except MemoryError as error:
        raise kind(f"{path}: {what} (it needs more memory than there is)", hint=hint) from error
    except Exception as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise kind(f"{path}: {what} ({type(error).__name__}: {reason})", hint=hint) from error


def read_text(path: Path) -> str:
    """UTF-8 text of a file; raises ValueError where it is too large, OSError where it cannot be read."""
    size = path.stat().st_size
    if size > MOST_TEXT_BYTES:
        raise ValueError(f"{size} bytes are too many")
    return path.read_text(encoding="utf-8-sig")


def read_json(path: Path, most_values: int = MOST_JSON_VALUES) -> Any:
    """What a JSON file holds; raises ValueError where that would be too much, RecursionError where it is too deep."""
    text = read_text(path)
    # Every value but the first of its list or object stands behind a comma, and empty ones cost as well.
    values = text.count(",") + text.count("[") + text.count("{")
    if values > most_values:
        raise ValueError(f"{values} values are too many")
    return json.loads(text)


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
