"""Frames of a clip as JPEG files with a list of their times: what every other command takes as photos.

``clip.json`` says of which clip they are and whether they are all there, so a second run continues with the rest.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from m3d_cli.atomic import write_bytes
from m3d_cli.bounded_files import read_json
from m3d_cli.errors import UsageError
from m3d_cli.sequences.clip import Clip, ClipFrame

MANIFEST = "clip.json"
MOST_MANIFEST_VALUES = 10_000
TIMES = "times.txt"
JPEG_QUALITY = 95
_EXIF_IFD, _FOCAL_35MM = 0x8769, 0xA405


@dataclass(frozen=True, slots=True)
class Sampling:
    """Every ``every``-th frame, or at most ``rate`` frames per second; the first ``most`` of these."""

    every: int = 1
    rate: float | None = None
    most: int | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0):
            raise UsageError(f"--fps {self.rate} is not a positive number")
        if self.rate is not None and self.every != 1:
            raise UsageError("--every and --fps both say which frames are taken", hint="give one of them")

    def takes(self, frame: ClipFrame, taken: int, last: float) -> bool:
        """Whether a frame is taken, after ``taken`` others, the last at ``last`` seconds."""
        if self.rate is None:
            return frame.number % self.every == 0
        # Half a millisecond of slack: times of a clip are rounded.
        return taken == 0 or frame.time - last >= 1 / self.rate - 5e-4


@dataclass(frozen=True, slots=True)
class Extraction:
    """Frames taken, and what was wrong with the clip."""

    frames: int
    notes: tuple[str, ...]


def expected_frames(path: Path, sampling: Sampling) -> int:
    """About how many frames there will be, 1 where the clip does not say; raises PhotoError for what is no video."""
    clip = Clip(path)
    facts = clip.facts
    clip.close()
    rate = sampling.rate or (facts.rate or 0.0) / sampling.every
    count = round((facts.seconds or 0.0) * rate)
    return max(1, count if sampling.most is None else min(count, sampling.most))


def extract(path: Path, folder: Path, sampling: Sampling, advance: Callable[[], None]) -> Extraction:
    """Write the sampled frames of a clip to ``folder``, unless they are there; raises UsageError for other frames."""
    identity = _identity(path, sampling)
    earlier = _manifest(folder)
    if earlier is not None and earlier.get("clip") != identity:
        raise UsageError(f"{folder} holds frames of another clip or sampling", hint="choose another --out")
    if earlier is not None and (done := _finished(earlier)) is not None:
        return done
    _write_manifest(folder, {"clip": identity})
    lines: list[str] = []
    clip, last = Clip(path), 0.0
    try:
        for frame in clip.frames():
            if sampling.most is not None and len(lines) >= sampling.most:
                break
            if sampling.takes(frame, len(lines), last):
                name, last = f"{len(lines):06d}.jpg", frame.time
                write_bytes(folder / name, _jpeg(frame, clip.facts.focal_35mm))
                lines.append(f"{frame.time:.6f} {name}\n")
                advance()
    finally:
        clip.close()
    write_bytes(folder / TIMES, ("# seconds, file\n" + "".join(lines)).encode())
    found = Extraction(len(lines), tuple(clip.notes))
    _write_manifest(folder, {"clip": identity, **asdict(found)})
    return found


def _identity(path: Path, sampling: Sampling) -> dict[str, Any]:
    try:
        status = path.stat()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    return {"name": path.name, "bytes": status.st_size, "modified": status.st_mtime_ns, **asdict(sampling)}


def _finished(manifest: dict[str, Any]) -> Extraction | None:
    """What an earlier run took, where it came to its end and its words are sound."""
    frames, notes = manifest.get("frames"), manifest.get("notes")
    if type(frames) is not int or not 0 < frames < 2**31 or not isinstance(notes, list):
        return None
    return Extraction(frames, tuple(map(str, notes)))


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        content = read_json(folder / MANIFEST, MOST_MANIFEST_VALUES)
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _write_manifest(folder: Path, content: dict[str, Any]) -> None:
    write_bytes(folder / MANIFEST, (json.dumps(content, indent=1) + "\n").encode())


def _jpeg(frame: ClipFrame, focal_35mm: float | None) -> bytes:
    """The frame as JPEG; a focal length that the clip told stands in its EXIF, where m3d looks for it."""
    exif = Image.Exif()
    if focal_35mm is not None:
        exif.get_ifd(_EXIF_IFD)[_FOCAL_35MM] = round(focal_35mm)
    buffer = io.BytesIO()
    Image.fromarray(frame.image).save(buffer, "JPEG", quality=JPEG_QUALITY, exif=exif)
    return buffer.getvalue()
