"""The demo: a broker in this process, a worker beside it, 33 years of prices through both.

Broker, worker and client speak Kafka's protocol over sockets; nothing is taken round it. The broker is
librdkafka's mock cluster, which proves nothing about exactly once: that is what the integration tests on
a real broker are for.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from stream_allocator.backtest.prices import Prices, bundled, return_events
from stream_allocator.backtest.report import Origin, verdict, write_report
from stream_allocator.backtest.run import Recorder, Run
from stream_allocator.backtest.summary import Summary, summarise
from stream_allocator.backtest.text import table
from stream_allocator.errors import BusError
from stream_allocator.events import Allocation, RegimeUpdate
from stream_allocator.shipped import shipped_topology
from stream_allocator.stream.embedded import EmbeddedBroker
from stream_allocator.stream.lockstep import Lockstep
from stream_allocator.topology import Topology, load_topology

__all__ = ["Worker", "lockstep_run", "run_demo"]

START_SECONDS = 180.0
"""Patience with the first bar: on a fresh checkout the worker compiles its kernels."""

STALL_SECONDS = 30.0
STOP_SECONDS = 15.0
TAIL_LINES = 15


class Worker:
    """A worker in a process of its own.

    Parameters
    ----------
    topology : path
    bootstrap : str
        The broker that it shall use.
    log : binary file
        For everything that it prints.
    """

    def __init__(self, topology: Path, bootstrap: str, log: IO[bytes]) -> None:
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stream_allocator.cli", "run", "--topology", str(topology)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"STREAM_ALLOCATOR_BOOTSTRAP": bootstrap, "STREAM_ALLOCATOR_FETCH_WAIT_MS": "1"},
        )

    def alive(self) -> None:
        """Raise if it has ended.

        Raises
        ------
        BusError
            With the end of what it printed.
        """
        code = self._process.poll()
        if code is not None:
            raise BusError(f"the worker ended with exit code {code}; the end of its log:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines that it printed."""
        self._log.seek(0)
        return "\n".join(self._log.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:])

    def stop(self) -> None:
        """Let it finish its batch and leave; kill it if it does not."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def _worker(topology: Path, bootstrap: str) -> Iterator[Worker]:
    with tempfile.TemporaryFile() as log:
        worker = Worker(topology, bootstrap, log)
        try:
            yield worker
        finally:
            worker.stop()


def lockstep_run(topology_file: Path, prices: Prices, console: Console) -> tuple[Run, Topology, float]:
    """The topology's first universe over an embedded broker.

    Returns
    -------
    Run, Topology, float
        The record, the topology, and the seconds from the first bar's answer to the last's.

    Raises
    ------
    BusError
        When the worker ends or stalls, with the end of its log.
    """
    topology = load_topology(topology_file)
    with (
        EmbeddedBroker(tuple(topology.topics.names.values())) as broker,
        _worker(topology_file, broker.bootstrap_servers) as worker,
    ):
        topology = topology.at(broker.bootstrap_servers)
        universe = topology.universes[0]
        recorder = Recorder(universe, topology.policies(universe.name))
        client = Lockstep(topology, recorder, alive=worker.alive, patience=STALL_SECONDS)
        try:
            with _Screen(console, prices.bars) as screen:
                client.drive(return_events(prices, universe), screen.show, start_patience=START_SECONDS)
                seconds = screen.seconds
        except BusError as error:
            worker.alive()  # says more if it has ended
            raise BusError(f"{error}; the end of the worker's log:\n{worker.tail()}") from error
        finally:
            client.close()
    return recorder.run(client.chain), topology, seconds


def run_demo(
    bars: int | None = None,
    report: Path = Path("out/demo/report.html"),
    *,
    topology_file: Path | None = None,
    prices: Prices | None = None,
    console: Console | None = None,
) -> int:
    """Run the demo and write its report; returns the exit code.

    Parameters
    ----------
    bars : int, optional
        Only the last so many.
    report : Path
    topology_file : Path, optional
        The shipped ``demo.yaml`` when not given.
    prices : Prices, optional
        The shipped history when not given.
    console : rich.console.Console, optional

    Raises
    ------
    BusError, DataError
    """
    console = console or Console()
    history = (prices or bundled()).tail(bars)
    run, _, seconds = lockstep_run(topology_file or shipped_topology(), history, console)
    portfolio = run.portfolios[0]
    summary = summarise(run, portfolio)
    origin = Origin(
        title=f"Demo: {portfolio.name}, {history.bars:,} days through the stream",
        data=history.source,
        data_digest=history.digest,
        way="Every bar went as a record over an embedded Kafka broker to a worker process; its decisions "
        "came back the same way to a paper execution, whose positions went on to the worker.",
        command="make demo" if bars is None else f'make demo DEMO_ARGS="--bars {bars}"',
    )
    write_report(report, run, portfolio, summary, origin)
    _closing(console, run, summary, seconds, report)
    return 0


class _Screen:
    """Progress, the present regime and the last decision, in place."""

    def __init__(self, console: Console, bars: int) -> None:
        self._progress = Progress(
            TextColumn("[bold]bars"),
            BarColumn(bar_width=36),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=console,
        )
        self._task = self._progress.add_task("bars", total=bars, rate="")
        self._line = Text("the worker starts and compiles its kernels; the first time takes a minute")
        self._live = Live(self._group(), console=console, refresh_per_second=8, transient=True)
        self._decision = ""
        self._drawn = self._begun = 0.0
        self._bars = 0

    @property
    def seconds(self) -> float:
        """Since the first bar's answer."""
        return time.monotonic() - self._begun

    def __enter__(self) -> "_Screen":
        self._live.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, update: RegimeUpdate, decided: list[Allocation]) -> None:
        now = time.monotonic()
        self._bars += 1
        if self._bars == 1:
            self._begun = now
        for a in decided:
            self._decision = f"{a.portfolio} #{a.index} {a.trigger} {a.rung} trades {a.turnover.traded:.1%}"
        if now - self._drawn < 0.1:
            return
        self._drawn = now
        rate = (self._bars - 1) / (now - self._begun) if now > self._begun else 0.0
        self._progress.update(self._task, completed=self._bars, rate=f"{rate:,.0f}/s")
        self._line = Text.assemble(
            (f"{_day(update.event_time)}  ", "dim"),
            (f"{update.label}", _STYLES[update.label]),
            f"  P(change) {update.switch_probability:.0%}  confidence {update.confidence:.0%}  ",
            (self._decision, "dim"),
        )
        self._live.update(self._group())

    def _group(self) -> Group:
        return Group(self._progress, self._line)


_STYLES = {"calm": "cyan", "normal": "white", "transition": "yellow", "stressed": "bold red"}


def _day(event_time: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(event_time / 1e6))


def _closing(console: Console, run: Run, summary: Summary, seconds: float, report: Path) -> None:
    console.print(table(summary))
    console.print(verdict(summary), highlight=False)
    bars = len(run.times)
    console.print(
        f"{bars:,} bars in {seconds:.1f} s: {1e3 * seconds / max(1, bars - 1):.1f} ms from a bar's returns "
        f"to its decision and back; audit chain {run.chain[:16]}",
        style="dim",
        highlight=False,
    )
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
