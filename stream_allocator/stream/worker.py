"""The worker: consume, step, publish, session after session, until it is told to stop."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import KafkaException

from stream_allocator.errors import BrokerAway, BusError
from stream_allocator.stream.checks import require
from stream_allocator.stream.failures import CHECK, REFUSED, Fenced, SessionLost
from stream_allocator.stream.probe import Probe, nothing
from stream_allocator.stream.session import Session
from stream_allocator.stream.watch import Overdue, Watch
from stream_allocator.telemetry import Telemetry
from stream_allocator.topology import Topology

__all__ = ["run"]

log = logging.getLogger(__name__)

HEARTBEAT_VARIABLE = "STREAM_ALLOCATOR_HEARTBEAT"
BEAT_SECONDS = 0.5
RESTART_SECONDS = 0.5
#: How long a session that is left behind has to leave the group before its process begins again.
LEAVE_SECONDS = 3.0
#: Fenced so often in so many seconds, a worker is not alone with its instance id.
FENCES, FENCES_SECONDS = 3, 30.0


class Heartbeat:
    """Touches the file that ``stream-allocator health`` looks at, at most twice a second."""

    def __init__(self, file: str | None) -> None:
        self._file = Path(file) if file else None
        self._last = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if self._file is not None and now - self._last >= BEAT_SECONDS:
            self._last = now
            self._file.touch()


def run(
    topology: Topology,
    *,
    instance_id: str | None = None,
    telemetry: str = "none",
    stop: threading.Event | None = None,
    probe: Probe = nothing,
    afresh: Callable[[], None] | None = None,
) -> None:
    """Work until ``stop`` is set: finish the batch, snapshot, commit, leave the group.

    Parameters
    ----------
    topology : Topology
    instance_id : str, optional
        Static group membership, and the name of the transactional producer.
    telemetry : {"none", "console", "otlp"}
    stop : threading.Event, optional
    probe : callable
        Called at the windows of :mod:`stream_allocator.stream.probe`.
    afresh : callable, optional
        Replaces the process once a session had to be left behind, which keeps what it holds for as long as
        the process lives. Without it the next session begins in this one.

    Raises
    ------
    BusError
        When topics do not fit, or another worker runs under the same instance id.
    RestoreError
        When the state rebuilt from the log is not the committed one.
    """
    stop = stop or threading.Event()
    instance = instance_id or f"{socket.gethostname()}-{os.getpid()}"
    meters = Telemetry(telemetry, instance)
    beat = Heartbeat(os.environ.get(HEARTBEAT_VARIABLE))
    require(topology, "worker")
    fences: list[float] = []
    try:
        while not stop.is_set():
            life = _Life(topology, instance, instance_id is not None, meters, beat, stop, probe)
            try:
                life.watch.run(life.live)
            except (SessionLost, BrokerAway, KafkaException, Overdue) as error:
                if isinstance(error, KafkaException) and error.args[0].code() in REFUSED:
                    raise BusError(
                        f"the broker refuses the worker: {error.args[0].str()}; {CHECK}"
                    ) from error
                log.warning("session lost: %s; restoring from the committed state", error)
                meters.session_lost(type(error).__name__)
                left = life.leave_behind() if isinstance(error, Overdue) else None
                if isinstance(error, Fenced):
                    now = time.monotonic()
                    fences = [then for then in fences if now - then < FENCES_SECONDS] + [now]
                    if len(fences) == FENCES:
                        raise BusError(
                            "another worker runs with this instance id; give each worker its own"
                        ) from error
                stop.wait(RESTART_SECONDS)
                if left is not None and afresh is not None:
                    left.join(LEAVE_SECONDS)
                    if not stop.is_set():
                        log.warning("the process begins again: only so does what is stuck end")
                        meters.close()
                        afresh()
    finally:
        meters.close()


class _Life:
    """One session from beginning to end, in a thread that can be left behind."""

    def __init__(
        self,
        topology: Topology,
        instance: str,
        static: bool,
        telemetry: Telemetry,
        beat: Heartbeat,
        stop: threading.Event,
        probe: Probe,
    ) -> None:
        self._topology, self._instance, self._static = topology, instance, static
        self._telemetry, self._beat, self._stop, self._probe = telemetry, beat, stop, probe
        self._session: Session | None = None
        self.watch = Watch()

    def live(self) -> None:
        """Join, work until told to stop, leave."""
        session = self._session = Session(
            self._topology,
            self._instance,
            static=self._static,
            telemetry=self._telemetry,
            progress=self._beat,
            probe=self._probe,
            watch=self.watch,
        )
        log.info("session instance=%s group=%s", self._instance, self._topology.worker.group)
        try:
            while not self._stop.is_set() and not self.watch.given_up:
                session.poll()
                self._beat()
        except BaseException:
            session.close()
            raise
        if not self.watch.given_up:
            session.leave()

    def leave_behind(self) -> threading.Thread | None:
        """Leave the group in its stead, so that it need not wait until the stuck member is missed."""
        if self._session is None:
            return None
        thread = threading.Thread(target=self._session.abandon, daemon=True, name="abandon")
        thread.start()
        return thread
