"""Which frames of a data set are taken, and what was left out: a score without it belongs to is unknown what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from m3d_cli.datasets.frame import Frame
from m3d_cli.datasets.layouts import Layout
from m3d_cli.errors import DatasetError


@dataclass(frozen=True, slots=True)
class SourceChoice:
    """A source to take: all of its frames, or those of one split."""

    name: str
    split: str | None = None

    @classmethod
    def parse(cls, text: str) -> SourceChoice:
        """``name`` or ``name:split``."""
        name, _, split = text.strip().partition(":")
        return cls(name, split or None)

    def __str__(self) -> str:
        return self.name if self.split is None else f"{self.name}:{self.split}"


@dataclass(frozen=True, slots=True)
class Selection:
    """``frames`` were taken: of ``split`` (empty: of all), of ``sources`` as asked for, the first ``limit``.

    ``listed`` counts what the data set names of that choice: the frames, those ``not_annotated`` (named without depth)
    and those ``beyond_limit``. ``other_splits`` counts what the split left out, ``notes`` are for the reader.
    """

    frames: tuple[Frame, ...] = field(default=(), repr=False)
    split: str = ""
    sources: tuple[str, ...] = ()
    limit: int | None = None
    not_annotated: int = 0
    beyond_limit: int = 0
    other_splits: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def listed(self) -> int:
        """How many frames the data set names of this choice."""
        return len(self.frames) + self.not_annotated + self.beyond_limit

    def describe(self) -> dict[str, object]:
        """The choice and its counts, for the result file."""
        return {
            "split": self.split or None,
            "sources": list(self.sources) or None,
            "limit": self.limit,
            "listed": self.listed,
            "not_annotated": self.not_annotated,
            "beyond_limit": self.beyond_limit,
            "other_splits": dict(self.other_splits),
        }


def select_frames(
    layout: Layout, root: Path, choices: Sequence[SourceChoice] = (), limit: int | None = None
) -> Selection:
    """The frames of ``root`` that ``choices`` name, or those of the benchmark's split; raises DatasetError for none.

    Where a data set does not know splits all of it is taken, and a note says so.
    """
    # Names come from folders, so "." and ".." must have their own.
    root = root.resolve()
    found = _found(layout, root)
    split = "" if choices else _benchmark_split(layout, root, found)
    taken = _chosen(root, found, choices) if choices else _of_split(found, split)
    lost = _not_annotated(layout, root, found, {choice.split for choice in choices} or {split or None})
    others = Counter(frame.split or "unknown" for frame in found if split and frame.split != split)
    return Selection(
        frames=taken[:limit],
        split=split,
        sources=tuple(map(str, choices)),
        limit=limit,
        not_annotated=lost,
        beyond_limit=len(taken[limit:]) if limit is not None else 0,
        other_splits=others,
        notes=tuple(_notes(layout, root, found, choices, split, lost)),
    )


def find_frames(layout: Layout, root: Path, choices: Sequence[SourceChoice] = ()) -> tuple[Frame, ...]:
    """The frames alone of ``select_frames``."""
    return select_frames(layout, root, choices).frames


def require_unique(frames: Sequence[Frame]) -> None:
    """Raise DatasetError where two frames share a name: nothing could tell their predictions and scores apart."""
    seen: set[str] = set()
    for frame in frames:
        if frame.name in seen:
            raise DatasetError(f"{frame.depth}: the frame {frame.name} comes twice", hint="m3d datasets check DIR")
        seen.add(frame.name)


def _found(layout: Layout, root: Path) -> tuple[Frame, ...]:
    """Every frame; raises DatasetError where there is none."""
    if not root.exists():
        raise DatasetError(f"{root}: no such folder", hint="name the folder that holds the data set")
    frames = layout.find(root)
    if not frames:
        raise DatasetError(f"{root}: no frames of layout {layout.name}", hint=f"it looks like {layout.shape}")
    return frames


def _benchmark_split(layout: Layout, root: Path, frames: Sequence[Frame]) -> str:
    """The benchmark's split; empty where there is none or the data does not know splits."""
    wanted, known = layout.benchmark_split, sorted({frame.split for frame in frames if frame.split})
    if not wanted or not known:
        return ""
    if wanted not in known:
        other = next(frame for frame in frames if frame.split)
        raise DatasetError(
            f"{root}: no frame of the split {wanted} that {layout.name} is scored on, only of {', '.join(known)}",
            hint=f"--sources {other.source}:{other.split} takes one of these, --sources {other.source} all",
        )
    return wanted


def _of_split(frames: tuple[Frame, ...], split: str) -> tuple[Frame, ...]:
    return tuple(frame for frame in frames if frame.split == split) if split else frames


def _chosen(root: Path, frames: Sequence[Frame], choices: Sequence[SourceChoice]) -> tuple[Frame, ...]:
    return tuple(frame for choice in choices for frame in _of_choice(root, frames, choice))


def _of_choice(root: Path, frames: Sequence[Frame], choice: SourceChoice) -> list[Frame]:
    of_source = [frame for frame in frames if frame.source == choice.name]
    if not of_source:
        names = ", ".join(dict.fromkeys(frame.source for frame in frames))
        raise DatasetError(f"{root}: no source named {choice.name}", hint=f"there are {names}")
    picked = [frame for frame in of_source if choice.split in (None, frame.split)]
    if not picked:
        raise DatasetError(f"{root / choice.name}: no frame of split {choice.split}")
    return picked


def _not_annotated(layout: Layout, root: Path, frames: Sequence[Frame], splits: set[str | None]) -> int:
    """Frames that the lists of these splits name without depth; None is every split."""
    if layout.without_depth is None:
        return 0
    return sum(count for split, count in layout.without_depth(root, frames).items() if splits & {None, split})


def _notes(
    layout: Layout, root: Path, frames: Sequence[Frame], choices: Sequence[SourceChoice], split: str, lost: int
) -> list[str]:
    """What the reader of a score must know about the choice."""
    notes = []
    if layout.benchmark_split and not choices and not split:
        notes.append(f"{root}: nothing says which frames are {layout.benchmark_split}: all {len(frames)} are taken")
    unknown = sum(not frame.split for frame in frames) if split else 0
    if unknown:
        notes.append(f"{root}: {unknown} frames are of no known split and left out")
    if lost:
        notes.append(f"{root}: the list names {lost} frames without depth, which cannot be scored")
    return notes
