"""Processes forked from one that has everything loaded and compiled, and no Kafka client."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

__all__ = ["Child"]

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.002


class Child:
    """A forked process: it costs milliseconds where an interpreter that imports and compiles costs seconds.

    The parent must not have made any Kafka client: their threads do not live on in a child. The child dies
    with its parent (where Linux lets it say so).

    Parameters
    ----------
    target : callable
        Runs in the child; its value is the exit status.
    log : path
        Where standard output and error go, at the end.
    """

    def __init__(self, target: Callable[[], int], log: Path) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.stopped = False
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _run(target, log)

    def poll(self) -> int | None:
        """Exit status once it has ended (minus the signal's number where one ended it), else None.

        ``stopped`` then says whether a SIGSTOP holds it.
        """
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid == 0:
                break
            if os.WIFSTOPPED(status):
                self.stopped = True
            elif os.WIFCONTINUED(status):
                self.stopped = False
            else:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for its end.

        Raises
        ------
        TimeoutError
            When it has not ended in ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} has not ended in {timeout:g} s")
            time.sleep(POLL_SECONDS)
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens where the process has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> int:
        """SIGKILL, and its exit status (which is another one where it ended by itself just before)."""
        self.send(signal.SIGKILL)
        return self.wait(30)


def _run(target: Callable[[], int], log: Path) -> None:
    code = 1
    try:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's; the parent ends its children itself
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.close(file)
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(fd, "w", closefd=False), line_buffering=True) for fd in (1, 2)
        )
        code = target()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
