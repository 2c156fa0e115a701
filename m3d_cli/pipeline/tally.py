"""How a run went in numbers: the summary and the exit code."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator

from m3d_cli.errors import FocalError, PhotoError
from m3d_cli.pipeline.journal import Outcome
from m3d_cli.reporter import Reporter


def exit_code_of(failures: Iterable[int]) -> int:
    """The code of a run whose photos failed with these: 0 for none, 7 if every one lacked a focal length, else 3."""
    codes = set(failures)
    if not codes:
        return 0
    return FocalError.exit_code if codes == {FocalError.exit_code} else PhotoError.exit_code


class Tally:
    """Counts outcomes of a run over ``planned`` photos, the first of which ``waits_for`` something."""

    def __init__(self, planned: int, waits_for: str = "") -> None:
        self.planned = planned
        self._waits_for = waits_for
        self._begin = time.monotonic()
        self._statuses: Counter[str] = Counter()
        self._assumed = 0
        self._estimated = 0
        self._empty = 0
        self._warned = 0
        self._failures: Counter[int] = Counter()

    def add(self, outcome: Outcome) -> None:
        """Count one photo."""
        self._statuses[str(outcome.status)] += 1
        is_assumed = outcome.focal_source == "assumed"
        is_estimated = outcome.focal_source == "estimated"
        self._assumed += is_assumed
        self._estimated += is_estimated
        is_empty = outcome.points == 0
        self._empty += is_empty
        # The warnings that go with an unknown focal length and an empty cloud are reported once, below.
        self._warned += len(outcome.warnings) > is_assumed + is_estimated + is_empty
        if outcome.error is not None:
            self._failures[outcome.error.exit_code] += 1

    def follow(
        self, outcomes: Iterable[Outcome], reporter: Reporter, most_failures: int | None = None
    ) -> Iterator[Outcome]:
        """The outcomes, each counted and reported; ends early after ``most_failures``."""
        with reporter.progress(self.planned, self._waits_for) as advance:
            for outcome in outcomes:
                self.add(outcome)
                yield outcome
                if outcome.error is not None:
                    hint = f". hint: {outcome.error.hint}" if outcome.error.hint else ""
                    reporter.error(f"{outcome.error.code}: {outcome.error.message}{hint}")
                for warning in outcome.warnings:
                    reporter.detail(f"{outcome.path}: {warning}")
                advance(worked=str(outcome.status) != "skipped")
                if most_failures is not None and self.failed >= most_failures:
                    reporter.warn(f"stopped after {self.failed} failures; run again to continue")
                    return

    @property
    def failed(self) -> int:
        """Photos that failed."""
        return self._statuses["error"]

    @property
    def exit_code(self) -> int:
        """0, or that of the failures."""
        return exit_code_of(self._failures)

    def report(self, reporter: Reporter) -> None:
        """One warning about unknown focal lengths, one about empty clouds, one about the rest, and the summary."""
        if self._assumed:
            share = f"{self._assumed} of {self.planned} photos"
            reporter.warn(f"{share}: focal length assumed, metres may be off by 25 % (1 sigma); see m3d exif")
        if self._estimated:
            share = f"{self._estimated} of {self.planned} photos"
            reporter.warn(f"{share}: focal length estimated from the image alone, see focal_rel_sigma in the sidecars")
        if self._empty:
            share = f"{self._empty} of {self.planned} photos"
            reporter.warn(f"{share}: the cloud is empty; see --max-depth, --min-confidence, --stride and --keep-edges")
        if self._warned:
            reporter.say(f"{self._warned} photo{_s(self._warned)} with remarks: see the sidecars, or run with -v")
        reporter.say(self.summary())

    def summary(self) -> str:
        """For example ``20 photos: 17 done, 2 already done, 1 failed in 12.3 s (1.4 photos/s)``."""
        seconds = time.monotonic() - self._begin
        done = self._statuses["done"]
        words = ((done, "done"), (self._statuses["skipped"], "already done"), (self.failed, "failed"))
        parts = [f"{count} {word}" for count, word in words if count]
        left = self.planned - self._statuses.total()
        if left:
            parts.append(f"{left} left for the next run")
        speed = f" ({done / seconds:.2f} photos/s)" if done and seconds > 0 else ""
        return f"{self.planned} photo{_s(self.planned)}: {', '.join(parts)} in {seconds:.1f} s{speed}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
