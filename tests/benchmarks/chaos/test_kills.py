"""The kill campaign's own clockwork, with workers that come to no window: nothing is left to take in."""

import signal
import time
from dataclasses import replace

import pytest

from benchmarks.chaos import kills
from benchmarks.chaos.child import Child
from benchmarks.chaos.plan import QUICK, RANDOM, Progress

PATIENCE = 60.0


class Fed:
    """A feeder with nothing left to feed, and a reader that hears nothing; they end a test that lasts."""

    def __init__(self, *_):
        self.fed, self.seen = QUICK.bars, 0
        self._end = time.monotonic() + PATIENCE

    def check(self):
        assert time.monotonic() < self._end, "the campaign does not end"

    def feed(self, bars):
        assert bars <= QUICK.bars

    def start(self):
        pass

    kill = start


def idle():
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    while not told:
        time.sleep(0.01)
    return 0


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "Feeder", Fed)
    monkeypatch.setattr(kills, "Reader", Fed)
    monkeypatch.setattr(kills, "PATIENCE", 0.1)
    monkeypatch.setattr(kills, "ASLEEP_SECONDS", (2.1, 2.2))
    monkeypatch.setattr(kills, "DEAF_SECONDS", 0.1)
    monkeypatch.setattr(kills, "start_worker", lambda *_: Child(idle, tmp_path / "workers.log"))

    class Anywhere:
        topology = None

        def under(self, _protocol):
            return None

    def begin(size):
        progress = Progress(1, size)
        return progress, kills._Campaign(progress, Anywhere(), tmp_path, lambda _: None)

    return begin


def test_a_campaign_ends_when_no_worker_comes_to_a_window_any_more(campaign):
    progress, made = campaign(replace(QUICK, kills=12, sleeps=2, stretch=100))
    with made:
        made.strike()
    assert progress.is_done
    assert progress.failures == []
    assert set(progress.kills) == {RANDOM}
    assert dict(progress.sleeps) == {RANDOM: progress.sleeps.total()}
