"""Forked workers end as they are struck, and tell when they slept."""

import json
import os
import signal
import time

import pytest

from benchmarks.chaos.child import Child
from benchmarks.chaos.worker import Strike, Striker


def passing(strike, notes, windows):
    """Pass windows one after the other; 5 when all were passed."""

    def target():
        striker = Striker(strike, notes)
        for window in windows:
            striker(window)
            time.sleep(0.001)
        time.sleep(0.2)
        return 5

    return target


@pytest.mark.parametrize("delay", [0.0, 0.01])
def test_a_worker_kills_itself_at_the_passage_that_it_is_told(tmp_path, delay):
    notes, log = tmp_path / "slept", tmp_path / "log"
    strike = Strike("stepping", 3, hold=0.01, delay=delay)
    assert Child(passing(strike, notes, ["consumed", *["stepping"] * 2]), log).wait(10) == 5
    assert Child(passing(strike, notes, ["consumed", *["stepping"] * 3]), log).wait(10) == -signal.SIGKILL
    assert not notes.exists()


def test_a_sleeper_tells_how_long_it_slept_and_what_it_passed_next(tmp_path):
    notes = tmp_path / "slept"
    strike = Strike("produced", 1, signal=signal.SIGSTOP)
    child = Child(
        passing(strike, notes, ["consumed", "produced", "sending_offsets", "committed", "consumed"]),
        tmp_path / "log",
    )
    deadline = time.monotonic() + 10
    while not child.stopped:
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(1.2)
    child.send(signal.SIGCONT)
    assert child.wait(10) == 5
    slept, then = map(json.loads, notes.read_text().splitlines())
    assert slept["slept"] > 1.0
    assert then["next"] == "committed"  # so a campaign would say that this zombie published


def test_what_a_child_raises_is_in_its_log(tmp_path):
    def target():
        raise ValueError("no such luck")

    child = Child(target, tmp_path / "log")
    assert child.wait(10) == 1
    assert "no such luck" in (tmp_path / "log").read_text()
    assert child.kill() == 1  # it has ended: nothing happens


def test_a_child_that_does_not_end_is_not_waited_for_for_ever(tmp_path):
    child = Child(lambda: time.sleep(60) or 0, tmp_path / "log")
    with pytest.raises(TimeoutError, match=str(child.pid)):
        child.wait(0.05)
    assert child.kill() == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
