"""A watch over calls of the client library that do not keep their own time-outs.

`send_offsets_to_transaction` waits for ever where the group's coordinator has left the cluster's metadata,
as a broker that is down has: librdkafka waits for a change of a broker that it has given up itself (its
issues 5511 and 5456). Nothing can end that call from outside, so it is made in a thread that can be left
behind. What it might still do is harmless: the next session's producer fences the one that is stuck.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Overdue", "Watch"]

TICK_SECONDS = 0.5
GRACE_SECONDS = 2.0


class Overdue(Exception):
    """A call has not returned in its time, and has been left behind."""


class Watch:
    """Deadlines of calls made in one thread, kept by another."""

    def __init__(self) -> None:
        self._calls = 0
        self._call: tuple[int, float] | None = None
        #: Whether the thread was left behind; what it runs must come to an end when it sees this.
        self.given_up = False

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """The call made inside should return in so many seconds, and may take a little longer."""
        self._calls += 1
        self._call = (self._calls, seconds + GRACE_SECONDS)
        try:
            yield
        finally:
            self._call = None

    def run(self, target: Callable[[], None]) -> None:
        """Run ``target`` in a thread until it ends; what it raises is raised here.

        Raises
        ------
        Overdue
            When a call in it is overdue. Time for which the whole process slept does not count.
        """
        raised: list[BaseException] = []

        def body() -> None:
            try:
                target()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=body, daemon=True, name="session")
        thread.start()
        seen, age, then = None, 0.0, time.monotonic()
        while True:
            thread.join(TICK_SECONDS)
            if not thread.is_alive():
                break
            now, call = time.monotonic(), self._call
            age = age + min(now - then, 2 * TICK_SECONDS) if call is not None and call == seen else 0.0
            seen, then = call, now
            if call is not None and age > call[1]:
                self.given_up = True
                raise Overdue(f"a call has not returned in {call[1]:g} s")
        if raised:
            # its traceback holds the frame above, which holds the list: with the error in it, what a session
            # had would live until the collector comes by, and the first session's for ever (it was frozen)
            raise raised.pop()
