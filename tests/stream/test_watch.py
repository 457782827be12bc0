"""Calls that never return are left behind; all others are as if nobody watched."""

import contextlib
import gc
import threading
import time
import weakref

import pytest

from stream_allocator.stream import watch as module
from stream_allocator.stream.watch import Overdue, Watch


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.05)


def test_a_call_that_does_not_return_is_left_behind():
    watch, release = Watch(), threading.Event()

    def stuck():
        with watch.within(0.1):
            release.wait()

    with pytest.raises(Overdue, match=r"has not returned in 0\.15 s"):
        watch.run(stuck)
    assert watch.given_up
    release.set()


def test_many_short_calls_are_never_overdue():
    watch = Watch()

    def busy():
        for _ in range(50):
            with watch.within(0.0):
                time.sleep(0.01)

    watch.run(busy)
    assert not watch.given_up


def test_what_is_not_watched_may_take_its_time():
    watch = Watch()
    watch.run(lambda: time.sleep(0.3))
    assert not watch.given_up


def test_what_is_raised_in_the_thread_is_raised_to_its_owner():
    def fails():
        raise KeyError("cause")

    with pytest.raises(KeyError, match="cause"):
        Watch().run(fails)


def test_what_a_session_held_goes_with_its_error_without_a_collection():
    class Held:
        pass

    alive = []

    def fail():
        held = Held()
        alive.append(weakref.ref(held))
        raise ValueError("lost")

    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            Watch().run(fail)
        assert alive[0]() is None
    finally:
        gc.enable()
