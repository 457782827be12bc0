"""What is done to the deployment each minute, in rotation."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.brokers import LocalKafka
from benchmarks.soak.feeder import FeederProcess
from benchmarks.soak.fleet import Worker

__all__ = ["KINDS", "Deployment", "Fault"]

BAD_RECORDS = 1000
BURST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done, and when it began, seconds since 1970."""

    kind: str
    time: float


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that a fault may strike; ``victim`` is restarted, the other worker never is.

    ``pause_seconds`` is how long a SIGSTOP lasts, ``rate`` the feeder's, in cross-sections a second.
    """

    broker: LocalKafka
    victim: Worker
    feeder: FeederProcess
    rate: float
    pause_seconds: float

    def kill(self) -> None:
        """A worker dies and is started again at once."""
        self.victim.kill()
        self.victim.start()

    def roll(self) -> None:
        """A worker is asked to leave and is started again: a rolling restart's step."""
        self.victim.stop()
        self.victim.start()

    def pause(self) -> None:
        """A worker hangs, for less than its session's time-out."""
        self.victim.signal(signal.SIGSTOP)
        time.sleep(self.pause_seconds)
        self.victim.signal(signal.SIGCONT)

    def bounce(self) -> None:
        """The broker is stopped in good order and started again."""
        self.broker.stop()
        self.broker.start()

    def crash(self) -> None:
        """The broker dies and is started again."""
        self.broker.kill()
        self.broker.start()

    def bad_records(self) -> None:
        """A source goes mad."""
        self.feeder.tell(f"bad {BAD_RECORDS}")

    def burst(self) -> None:
        """Five seconds of records come at once."""
        self.feeder.tell(f"burst {round(BURST_SECONDS * self.rate)}")

    def strike(self, number: int) -> Fault:
        """The next fault of the rotation."""
        kind = list(KINDS)[number % len(KINDS)]
        begun = time.time()
        KINDS[kind](self)
        return Fault(kind, begun)


#: In the order of the rotation.
KINDS: dict[str, Callable[[Deployment], None]] = {
    "SIGKILL of a worker": Deployment.kill,
    "feeder burst": Deployment.burst,
    "broker bounce": Deployment.bounce,
    "SIGSTOP of a worker": Deployment.pause,
    "bad records": Deployment.bad_records,
    "SIGTERM and restart": Deployment.roll,
    "broker kill": Deployment.crash,
}
