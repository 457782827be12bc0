"""Workers as processes, each a static member; what ends them is counted from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["Worker"]

LEAVE_SECONDS = 60.0


class Worker:
    """``stream-allocator run`` under one instance id, started again as often as it is ended."""

    def __init__(self, name: str, topology_file: Path, folder: Path) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        self._command = [sys.executable, "-X", "faulthandler", "-m", "stream_allocator.cli", "run"]
        self._command += ["-t", str(topology_file)]
        self._process: subprocess.Popen[bytes] | None = None
        self.incarnation = -1
        self.started = 0.0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start it, the first time or again."""
        env = os.environ | {"STREAM_ALLOCATOR_INSTANCE_ID": self.name}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=env, stdout=log, stderr=log)
        self.incarnation += 1
        self.started = time.time()

    def check(self) -> None:
        """Raise `RuntimeError` when it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            words = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"worker {self.name} ended with status {self._process.poll()}: {words}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)

    def stop(self) -> None:
        """SIGTERM: it saves its state and leaves."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGABRT)  # its stacks go to its log
                self._process.wait(30)
            if self._process.returncode != 0:
                self.check()
