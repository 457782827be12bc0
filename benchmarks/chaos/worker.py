"""A worker that strikes itself at a named moment: the k-th passage of a window, or some time after it."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.chaos.child import Child
from stream_allocator.errors import RestoreError, StreamAllocatorError
from stream_allocator.stream import session
from stream_allocator.stream.probe import Window
from stream_allocator.stream.worker import run
from stream_allocator.topology import Topology

__all__ = ["REFUSED", "Strike", "Striker", "start_worker"]

#: A snapshot of a few small universes is to take several transactions, too.
SNAPSHOT_BYTES = 300_000
JUMP_SECONDS = 1.0
#: Exit status of a worker that says what is wrong and goes no further, as the CLI's; and of one whose state
#: is not the committed one, which must never happen here.
REFUSED, DIFFERENT = 3, 4


@dataclass(frozen=True, slots=True)
class Strike:
    """Where a worker strikes itself.

    Attributes
    ----------
    window : Window
    passage : int
        Which passage of the window, from 1.
    hold : float
        Seconds that it holds still there before: what it has handed to its clients goes on meanwhile.
    delay : float
        Seconds after it: 0 is there and then; otherwise the worker goes on meanwhile.
    signal : signal.Signals
        SIGKILL, or SIGSTOP for a worker that is to sleep.
    """

    window: Window
    passage: int = 1
    hold: float = 0.0
    delay: float = 0.0
    signal: signal.Signals = signal.SIGKILL


class Striker:
    """The probe that does it.

    Parameters
    ----------
    strike : Strike
    notes : path
        Where a worker that slept says what it did next, one JSON object a line.
    """

    def __init__(self, strike: Strike, notes: Path) -> None:
        self._strike, self._notes = strike, notes
        self._passages = 0
        self._woken = False

    def __call__(self, window: Window) -> None:
        strike = self._strike
        if self._woken and window in ("restoring", "consumed", "committed"):
            # it was asleep inside a batch: that batch must never be committed, so the next thing that it
            # passes is the beginning of another one
            self._woken = False
            self._note(next=window)
        if window != strike.window:
            return
        self._passages += 1
        if self._passages != strike.passage:
            return
        time.sleep(strike.hold)
        if strike.delay:
            threading.Thread(target=self._later, daemon=True).start()
        else:
            self._now()

    def _later(self) -> None:
        time.sleep(self._strike.delay)
        self._now()

    def _now(self) -> None:
        before = now = time.monotonic()
        os.kill(os.getpid(), self._strike.signal)
        while self._strike.signal == signal.SIGKILL or (now := time.monotonic()) - before < JUMP_SECONDS:
            before = (
                now  # the signal is on its way, and is to find us here; the clock jumps once we are woken
            )
            time.sleep(0.01)
        # (with a delay it may have fallen asleep anywhere, even after the commit)
        self._woken = self._strike.window not in ("restoring", "committed") and not self._strike.delay
        self._note(slept=round(now - before, 3))

    def _note(self, **what: object) -> None:
        line = json.dumps({"pid": os.getpid(), "window": self._strike.window, **what})
        with self._notes.open("a") as file:
            file.write(line + "\n")


def start_worker(topology: Topology, instance: str | None, strike: Strike | None, folder: Path) -> Child:
    """A worker as a process.

    SIGTERM lets it finish its batch, snapshot and leave. Its exit status is 0 then, and ``REFUSED`` or
    ``DIFFERENT`` when it refuses to go on; why is in ``workers.log``.

    Parameters
    ----------
    topology : Topology
    instance : str, optional
        A static member; without it a dynamic one.
    strike : Strike, optional
    folder : path
        For ``workers.log`` and ``slept.jsonl``.
    """
    return Child(partial(_work, topology, instance, strike, folder), folder / "workers.log")


def _work(topology: Topology, instance: str | None, strike: Strike | None, folder: Path) -> int:
    logging.basicConfig(
        format=f"%(asctime)s {os.getpid()} {instance} %(levelname)s %(message)s",
        level=logging.INFO,
        force=True,
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    logging.info("strike %s", strike)
    assert hasattr(session, "SNAPSHOT_BYTES")
    session.SNAPSHOT_BYTES = SNAPSHOT_BYTES
    probe = {} if strike is None else {"probe": Striker(strike, folder / "slept.jsonl")}
    try:
        run(topology, instance_id=instance, stop=stop, **probe)
    except StreamAllocatorError as error:
        logging.error("%s: %s", type(error).__name__, error)
        return DIFFERENT if isinstance(error, RestoreError) else REFUSED
    return 0
