"""What the progress display says: of photos of this run, at the speed of the last ten seconds, and ~ while unknown."""

from __future__ import annotations

from m3d_cli.models.registry import choose_weights
from m3d_cli.models.spec import TEST_LITE
from m3d_cli.pipeline.pace import Pace, PlainProgress
from m3d_cli.pipeline.settings import Settings
from m3d_cli.pipeline.tally import Tally
from m3d_cli.reporter import Silent


class Timer:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def passed(pace: Pace, timer: Timer, *, photos: int, seconds: float) -> None:
    for _ in range(photos):
        timer.now += seconds
        pace.advance()


def test_plain_progress_is_rare() -> None:
    timer, said = Timer(), []
    bar = PlainProgress(1000, said.append, clock=timer)
    for _ in range(1000):
        timer.now += 1.0
        bar.advance()
    assert len(said) == 20
    assert said[0] == "50 of 1000 photos (5 %), 1.0 photos/s, 16 min left"


def test_plain_progress_of_a_run_that_has_nothing_to_do_says_nothing() -> None:
    timer, said = Timer(), []
    bar = PlainProgress(3, said.append, clock=timer)
    for _ in range(3):
        timer.now += 100
        bar.advance(worked=False)
    assert said == []


def test_the_first_photo_waits_for_the_network_and_a_rate_needs_a_second() -> None:
    timer = Timer()
    pace = Pace(32, timer, "loading network")
    timer.now = 12.0
    assert str(pace) == "loading network"
    # The first batch ends all at once: that is no rate of 38,286 photos per second.
    passed(pace, timer, photos=2, seconds=0.00002)
    assert str(pace) == "~"
    assert pace.words == ""
    passed(pace, timer, photos=4, seconds=0.5)
    assert str(pace) == "2.0 photos/s, 13 s left"


def test_photos_of_a_batch_count_from_one_batch_to_the_next() -> None:
    timer = Timer()
    pace = Pace(100, timer)
    for _ in range(3):
        timer.now += 4.0
        passed(pace, timer, photos=8, seconds=0.0)
    assert str(pace) == "2.0 photos/s, 38 s left"


def test_what_an_earlier_run_did_counts_for_nothing() -> None:
    timer = Timer()
    pace = Pace(10_000, timer, "loading network")
    for _ in range(9000):
        timer.now += 0.0001
        pace.advance(worked=False)
    assert str(pace) == "loading network"
    assert (pace.through, pace.total) == (0, 1000)
    timer.now += 20.0  # the network is loaded
    passed(pace, timer, photos=500, seconds=4.0)
    assert str(pace) == "4.0 s a photo, 33 min left"


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    timer = Timer()
    pace = Pace(1000, timer)
    passed(pace, timer, photos=100, seconds=4.0)
    passed(pace, timer, photos=30, seconds=0.5)
    assert str(pace) == "2.0 photos/s, 7 min left"
    passed(pace, timer, photos=2, seconds=60.0)
    assert str(pace) == "60.0 s a photo, 14.5 h left"


def test_a_run_waits_for_a_network_unless_depth_is_read_back(tmp_path) -> None:
    settings = Settings(TEST_LITE, choose_weights(TEST_LITE))
    assert settings.waits_for == "loading network"
    assert Settings(TEST_LITE, settings.weights, stored=tmp_path).waits_for == ""

    class Display(Silent):
        def progress(self, total, waits_for=""):
            self.seen = (total, waits_for)
            return super().progress(total)

    display = Display()
    list(Tally(3, settings.waits_for).follow([], display))
    assert display.seen == (3, "loading network")
