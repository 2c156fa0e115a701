"""Opening an image's header: format, size and orientation, with no pixel decoded.

Three decoders, three habits: Pillow leaves JPEG, PNG, WebP and AVIF as stored, turns TIFF upright while loading and
reports its size already turned, and libheif turns HEIC before anyone sees it. `PictureInfo` hides the difference.
"""

from __future__ import annotations

import importlib.util
import logging
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import PIL
from PIL import Image, ImageFile

from m3d_cli.errors import M3dError, PhotoError
from m3d_cli.extras import install_hint
from m3d_cli.intrinsics.exif import header_exif
from m3d_cli.photos.grey16 import note_significant_bits
from m3d_cli.photos.png_text import without_long_text
from m3d_cli.photos.sniff import HEAD_BYTES, ImageFormat, can_read_raw, has_raw_name, sniff

logger = logging.getLogger(__name__)

# Largest image taken on, in pixels: 512 megapixels decode to 1.5 GB. Pillow's own limit (90 warns, 179 raises) is for
# web servers and would refuse stitched panoramas and medium-format backs.
MAX_PIXELS = 512_000_000

# A header that promises more than this and a file too small to hold it is damage or an attack, not a photo: one byte
# for a thousand pixels is ten times less than the emptiest real photo needs.
SUSPICIOUS_PIXELS = 24_000_000
PIXELS_PER_BYTE = 1000

ORIENTATION_TAG = 0x0112
SWAPPING_ORIENTATIONS = (5, 6, 7, 8)

# Decoders that already turned the pixels upright when they hand them over.
ROTATING_FORMATS = frozenset((ImageFormat.TIFF, ImageFormat.HEIF, ImageFormat.RAW))


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What a file says about its image; sizes in pixels.

    ``width`` and ``height`` are of the full upright image. ``orientation`` is the EXIF value as stored (1 when
    absent); ``rotated_by_decoder`` tells that the decoder, not m3d, turns the pixels.
    """

    format: ImageFormat
    stored_width: int
    stored_height: int
    orientation: int
    rotated_by_decoder: bool
    mode: str

    @property
    def width(self) -> int:
        """Width of the upright image."""
        return self.stored_height if self.is_turned else self.stored_width

    @property
    def height(self) -> int:
        """Height of the upright image."""
        return self.stored_width if self.is_turned else self.stored_height

    @property
    def is_turned(self) -> bool:
        """Whether upright and stored width and height are swapped."""
        return self.orientation in SWAPPING_ORIENTATIONS


def identify(path: Path) -> ImageFormat:
    """Format of ``path`` by content (camera RAW also by name); raises `PhotoError`."""
    with photo_errors(path):
        # Opening a pipe would wait for a writer for ever.
        if not (stat.S_ISREG(path.stat().st_mode) or path.is_dir()):
            raise PhotoError(f"{path}: not a regular file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    found = sniff(head)
    if head and has_raw_name(path):
        found = ImageFormat.RAW
    if found is ImageFormat.RAW and not can_read_raw():
        raise PhotoError(
            f"{path}: camera RAW needs the package rawpy",
            hint=f"{install_hint('raw')}; or export the photo as JPEG or TIFF",
            code="RAW_UNSUPPORTED",
        )
    if found is None:
        what = "the file is empty" if not head else "the file is not an image that m3d knows"
        raise PhotoError(f"{path}: {what}", hint="JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC and AVIF are read")
    return found


@contextmanager
def opened(path: Path) -> Iterator[tuple[ImageFile.ImageFile, PictureInfo]]:
    """The Pillow image of ``path`` before any pixel is decoded; every error inside becomes a `PhotoError`."""
    found = identify(path)
    with photo_errors(path), path.open("rb") as file:
        image = _open_as(found, file, path)
        info = _info(image, found)
        check_size(path, info, path.stat().st_size)
        yield image, info


def _open_as(found: ImageFormat, file: IO[bytes], path: Path) -> ImageFile.ImageFile:
    """The plugin of exactly this format: no guessing through forty others, and no process-wide pixel limit."""
    if found is ImageFormat.HEIF:
        # Imported on demand: libheif takes longer to load than most commands run.
        from pillow_heif import HeifImageFile

        heif: ImageFile.ImageFile = HeifImageFile(file, str(path))
        return heif
    if found.value not in Image.OPEN:
        Image.preinit()
        Image.init()
    if found.value not in Image.OPEN:
        raise PhotoError(f"{path}: this Pillow ({PIL.__version__}) was built without {found}", hint="update pillow")
    if found is ImageFormat.PNG:
        file = without_long_text(file)
    image = Image.OPEN[found.value][0](file, str(path))
    if found is ImageFormat.PNG:
        note_significant_bits(image, file)
    return image


def _info(image: ImageFile.ImageFile, found: ImageFormat) -> PictureInfo:
    orientation = stored_orientation(image)
    width, height = image.size
    if found in ROTATING_FORMATS and orientation in SWAPPING_ORIENTATIONS:
        width, height = height, width
    return PictureInfo(found, width, height, orientation, found in ROTATING_FORMATS, image.mode)


def stored_orientation(image: Image.Image) -> int:
    """EXIF orientation 1 to 8 as stored in the file; 1 when it is missing or makes no sense."""
    before_decoder = image.info.get("original_orientation")
    if isinstance(before_decoder, int) and before_decoder in range(1, 9):
        return before_decoder
    try:
        value = header_exif(image).get(ORIENTATION_TAG, 1)
    except Exception as error:  # noqa: BLE001 - broken EXIF raises anything; the pixels are still good
        logger.info("orientation unreadable: %s", error)
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def check_size(path: Path, info: PictureInfo, file_bytes: int) -> None:
    """Refuse an image without area, a decompression bomb, and a header that its file cannot honour."""
    pixels = info.stored_width * info.stored_height
    size = f"{info.stored_width} x {info.stored_height}"
    if pixels < 1:
        raise PhotoError(f"{path}: the image is {size} pixels and has no area")
    if pixels > MAX_PIXELS:
        raise PhotoError(
            f"{path}: {size} pixels are more than the limit of {MAX_PIXELS // 1_000_000} megapixels",
            hint="make a smaller copy of this image first",
            code="PHOTO_TOO_LARGE",
        )
    if pixels > max(SUSPICIOUS_PIXELS, file_bytes * PIXELS_PER_BYTE):
        raise PhotoError(
            f"{path}: the header promises {size} pixels, but the file has only {file_bytes} bytes",
            hint="the file is damaged or cut short; copy it again from the camera",
        )


@contextmanager
def photo_errors(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on a bad file into one `PhotoError` that names the file."""
    try:
        yield
    except M3dError:
        raise
    except FileNotFoundError as error:
        raise PhotoError(f"{path}: there is no such file", hint="check the spelling of the path") from error
    except MemoryError as error:
        raise PhotoError(f"{path}: not enough memory to decode the image", hint="make a smaller copy") from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise PhotoError(
            f"{path}: the image cannot be decoded: {reason}",
            hint="the file is damaged or cut short; copy it again from the camera",
        ) from error


def readable_formats() -> tuple[ImageFormat, ...]:
    """Formats that this installation decodes."""
    Image.init()
    found = [kind for kind in ImageFormat if kind.value in Image.OPEN]
    if importlib.util.find_spec("pillow_heif") is not None:
        found.append(ImageFormat.HEIF)
    if can_read_raw():
        found.append(ImageFormat.RAW)
    return tuple(dict.fromkeys(found))
