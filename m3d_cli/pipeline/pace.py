"""How fast a run is and how long it will take; plain progress lines for logs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import takewhile

# A plain line comes when both have passed, so that the log of a long run stays short.
LINE_SECONDS = 30.0
LINE_SHARE = 0.05

# The rate is that of the last so many seconds: the start-up and a slow folder long ago say nothing of what is left.
PACE_SECONDS = 10.0
# A batch ends all at once, so a rate needs photos that ended this many seconds apart.
LEAST_SECONDS = 1.0
# Photos that end within this time are of one batch.
BATCH_SECONDS = 0.1
UNKNOWN = "~"

Clock = Callable[[], float]


class Pace:
    """How fast photos are processed. What an earlier run did counts for nothing, not even as one of the ``total``."""

    def __init__(self, total: int, clock: Clock = time.monotonic, waits_for: str = "") -> None:
        self.total = total
        self.through = 0
        self._clock = clock
        self._waits_for = waits_for
        self._times: deque[float] = deque()

    def advance(self, *, worked: bool = True) -> None:
        """One photo more is through."""
        if not worked:
            self.total -= 1
            return
        self.through += 1
        self._times.append(self._clock())
        # The oldest one kept is where the rate is counted from: at least 10 s ago, where there is one.
        while len(self._times) > 2 and self._times[1] <= self._times[-1] - PACE_SECONDS:
            self._times.popleft()

    @property
    def rate(self) -> float | None:
        """Photos per second after the first, which waited for the network to load; None as long as nothing is known."""
        if not self._times:
            return None
        begin, end = self._times[0], self._times[-1]
        first_batch = sum(1 for _ in takewhile(lambda time: time <= begin + BATCH_SECONDS, self._times))
        later = len(self._times) - first_batch
        return later / (end - begin) if end - begin >= LEAST_SECONDS else None

    @property
    def words(self) -> str:
        """For example ``1.4 photos/s, 3 min left``; empty as long as there is no rate."""
        if not self.rate:
            return ""
        speed = f"{self.rate:.1f} photos/s" if self.rate >= 1 else f"{1 / self.rate:.1f} s a photo"
        return f"{speed}, {spoken((self.total - self.through) / self.rate)} left"

    def __str__(self) -> str:
        """The words, ``~`` without a rate, and before the first photo what it waits for."""
        return self.words or (UNKNOWN if self.through else self._waits_for)


def spoken(seconds: float) -> str:
    """A time to wait in the unit that people would say it in."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}" if unit == "h" else f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


class PlainProgress:
    """Says ``12 of 80 photos (15 %), 1.4 photos/s, 49 s left`` at most every 30 s and every 5 %."""

    def __init__(self, total: int, say: Callable[[str], None], clock: Clock = time.monotonic) -> None:
        self._pace = Pace(total, clock)
        self._say = say
        self._clock = clock
        self._told_at = clock()
        self._told = 0

    def advance(self, *, worked: bool = True) -> None:
        """One photo more is through."""
        pace = self._pace
        pace.advance(worked=worked)
        if not worked:
            return
        now = self._clock()
        if now - self._told_at < LINE_SECONDS or pace.through - self._told < LINE_SHARE * pace.total:
            return
        self._told_at, self._told = now, pace.through
        words = (f"{pace.through} of {pace.total} photos ({100 * pace.through / pace.total:.0f} %)", pace.words)
        self._say(", ".join(word for word in words if word))
