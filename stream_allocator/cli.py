"""The command line. Exit codes: 0 done, 1 a check failed, 2 wrong usage or configuration, 3 Kafka."""

import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from stream_allocator import __version__
from stream_allocator.broker_command import acls, topics_app
from stream_allocator.errors import BusError, DataError, StreamAllocatorError
from stream_allocator.history_commands import backtest, regimes, stress
from stream_allocator.letters_command import letters_app
from stream_allocator.options import AsJson, Bootstrap, TopologyFile, open_topology
from stream_allocator.schemas_command import schemas_app

app = typer.Typer(
    name="stream-allocator",
    help="A streaming portfolio allocator: certified weights, replayable decisions, inside the limits.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(topics_app, name="topics")
app.command("acls")(acls)
app.command("stress")(stress)
app.add_typer(schemas_app, name="schemas")
app.add_typer(letters_app, name="dead-letters")

out = Console()
err = Console(stderr=True)


def _log(topology: Any, archive: Path | None) -> Any:
    from stream_allocator.archive import read_archive, read_topics

    return read_topics(topology) if archive is None else read_archive(archive)


def _decisions(topology: Path | None, bootstrap: str | None, archive: Path | None) -> Any:
    """The log of allocations and evidence alone: no engine, no right on the broker but to read two topics."""
    from stream_allocator.archive import DECISIONS, read_archive, read_decisions

    if archive is not None:
        return read_archive(archive, DECISIONS)
    if topology is None:
        raise typer.BadParameter(
            "say where decisions are: --topology, --archive, or --allocation and --evidence"
        )
    return read_decisions(open_topology(topology, bootstrap))


def _stop_event() -> threading.Event:
    """Set by SIGTERM and SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _logging() -> None:
    logging.basicConfig(
        level=os.environ.get("STREAM_ALLOCATOR_LOG", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def run(
    topology: TopologyFile,
    bootstrap: Bootstrap = None,
    instance_id: Annotated[
        str | None,
        typer.Option(help="static group membership", envvar="STREAM_ALLOCATOR_INSTANCE_ID"),
    ] = None,
    telemetry: Annotated[
        str, typer.Option(help="none, console or otlp", envvar="STREAM_ALLOCATOR_TELEMETRY")
    ] = "none",
) -> None:
    """Run a worker: consume returns, positions and control; publish allocations. SIGTERM ends it cleanly."""
    from stream_allocator.stream.afresh import begin_again
    from stream_allocator.stream.worker import run as run_worker

    _logging()
    run_worker(
        open_topology(topology, bootstrap),
        instance_id=instance_id,
        telemetry=telemetry,
        stop=_stop_event(),
        afresh=begin_again,
    )


@app.command()
def demo(
    bars: Annotated[int | None, typer.Option(min=300, help="only the last so many bars")] = None,
    report: Annotated[Path, typer.Option(help="where the report goes")] = Path("out/demo/report.html"),
) -> None:
    """33 years of 20 US large caps through an embedded broker, a worker and a paper execution."""
    from stream_allocator.demo import run_demo

    raise typer.Exit(run_demo(bars=bars, report=report))


app.command("backtest")(backtest)
app.command("regimes")(regimes)


@app.command()
def replay(
    topology: TopologyFile,
    bootstrap: Bootstrap = None,
    archive: Annotated[
        Path | None, typer.Option(help="directory that `record` wrote, instead of live topics")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="another policy for every portfolio")] = None,
    as_json: AsJson = False,
) -> None:
    """Re-run recorded topics and say whether every decision is byte-identical. Exit code 1 if not."""
    from stream_allocator.policy import load_policy
    from stream_allocator.replay import replay as run_replay

    loaded = open_topology(topology, bootstrap)
    other = load_policy(policy) if policy else None
    result = run_replay(loaded, _log(loaded, archive), other)
    print(json.dumps(result.summary(), sort_keys=True)) if as_json else out.print(result.text())
    raise typer.Exit(0 if result.identical or other is not None else 1)


@app.command()
def record(
    topology: TopologyFile,
    archive: Annotated[Path, typer.Argument(help="directory for one Avro container file a topic")],
    bootstrap: Bootstrap = None,
) -> None:
    """Copy the topics into an archive that `replay --archive` reads."""
    from stream_allocator.archive import read_topics, write_archive
    from stream_allocator.stream.redrive import read_letters

    live = open_topology(topology, bootstrap)
    for name, count in write_archive({**read_topics(live), **read_letters(live)}, archive).items():
        out.print(f"{name}: {count} records")


DecisionId = Annotated[str | None, typer.Option(help="decision id")]
Archive = Annotated[Path | None, typer.Option(help="read the directory that `record` wrote, not live topics")]
AnyTopology = Annotated[
    Path | None, typer.Option("--topology", "-t", help="topology file (YAML); files need none")
]


@app.command()
def explain(
    topology: AnyTopology = None,
    bootstrap: Bootstrap = None,
    decision: DecisionId = None,
    archive: Archive = None,
    portfolio: Annotated[str | None, typer.Option(help="the latest of this portfolio")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain one decision in words, the latest if none is named, and check it. Exit code 1 if that fails."""
    from stream_allocator.archive import find_decision
    from stream_allocator.explain import sentences, structured
    from stream_allocator.verify import verify as check

    found = find_decision(_decisions(topology, bootstrap, archive), decision, portfolio)
    verdict = check(found.allocation, found.evidence, found.evidence_body)
    if as_json:
        words = structured(found.allocation, found.evidence)
        print(json.dumps(words | {"verdict": verdict.summary()}, sort_keys=True))
    else:
        for line in sentences(found.allocation, found.evidence):
            out.print(line, highlight=False)
        print(verdict.text())
    raise typer.Exit(0 if verdict.passed else 1)


@app.command()
def verify(
    topology: AnyTopology = None,
    bootstrap: Bootstrap = None,
    archive: Archive = None,
    allocation: Annotated[
        Path | None, typer.Option(help="file with the value of one allocation record, as published")
    ] = None,
    evidence: Annotated[Path | None, typer.Option(help="the same of its evidence record")] = None,
    decision: DecisionId = None,
    portfolio: Annotated[str | None, typer.Option(help="those of this portfolio")] = None,
    as_json: AsJson = False,
) -> None:
    """Check decisions from their two published records alone. Exit code 1 if a claim of one fails.

    It computes everything anew: no engine, no solver, no right on the broker but to read two topics.
    """
    from stream_allocator.archive import decisions, read_decision
    from stream_allocator.verify import report
    from stream_allocator.verify import verify as check

    if (allocation is None) != (evidence is None):
        raise typer.BadParameter("--allocation and --evidence go together")
    if allocation is not None and evidence is not None:
        found = iter([read_decision(allocation, evidence)])
    else:
        found = decisions(_decisions(topology, bootstrap, archive), decision, portfolio)
    verdicts = [check(d.allocation, d.evidence, d.evidence_body) for d in found]
    if not verdicts:
        raise DataError("no decision found")
    passed = all(v.passed for v in verdicts)
    if as_json:
        print(json.dumps({"passed": passed, "decisions": [v.summary() for v in verdicts]}, sort_keys=True))
    else:
        print(verdicts[0].text() if len(verdicts) == 1 else report(verdicts))
    raise typer.Exit(0 if passed else 1)


@app.command()
def control(
    topology: TopologyFile,
    universe: Annotated[str, typer.Option()],
    portfolio: Annotated[str, typer.Option()],
    mode: Annotated[str, typer.Option(help="active, shadow, baseline or halted")],
    operator: Annotated[str, typer.Option(help="who")],
    reason: Annotated[str, typer.Option(help="why; goes into the audit trail")],
    bootstrap: Bootstrap = None,
) -> None:
    """Change a portfolio's mode; it takes effect at the next bar."""
    from stream_allocator.stream.control import publish_control

    publish_control(open_topology(topology, bootstrap), universe, portfolio, mode, operator, reason)
    out.print(f"{universe}/{portfolio}: {mode} requested")


@app.command()
def feed(
    topology: TopologyFile,
    bootstrap: Bootstrap = None,
    prices: Annotated[Path | None, typer.Option(help="price file; the bundled one when not given")] = None,
    bars: Annotated[int | None, typer.Option(help="only the last so many bars")] = None,
    rate: Annotated[
        float | None, typer.Option(help="bars a second; as fast as possible when not given")
    ] = None,
    packed: Annotated[
        bool, typer.Option("--packed", help="in the packed form: numbers in the universe's order, no names")
    ] = False,
) -> None:
    """Publish a price file as returns."""
    from stream_allocator.backtest.prices import bundled, load_prices
    from stream_allocator.stream.feed import feed as run_feed

    _logging()
    source = load_prices(prices) if prices else bundled()
    run_feed(
        open_topology(topology, bootstrap), source, bars=bars, rate=rate, stop=_stop_event(), packed=packed
    )


@app.command()
def execute(topology: TopologyFile, bootstrap: Bootstrap = None) -> None:
    """Run the paper execution: fill allocations at the next bar, publish positions."""
    from stream_allocator.stream.execute import execute as run_execute

    _logging()
    run_execute(open_topology(topology, bootstrap), stop=_stop_event())


@app.command()
def health(
    max_age: Annotated[float, typer.Option(help="seconds since the worker's last loop")] = 30.0,
) -> None:
    """Exit 0 if the worker of this host has looped lately (file in STREAM_ALLOCATOR_HEARTBEAT)."""
    file = os.environ.get("STREAM_ALLOCATOR_HEARTBEAT")
    if not file:
        raise typer.BadParameter("set STREAM_ALLOCATOR_HEARTBEAT, as for the worker")
    try:
        age = time.time() - Path(file).stat().st_mtime
    except OSError:
        err.print(f"{file}: no heartbeat")
        raise typer.Exit(1) from None
    if age > max_age:
        err.print(f"{file}: last heartbeat {age:.0f} s ago")
        raise typer.Exit(1)


def main() -> None:
    """Entry point: known errors are one clear line and an exit code, never a traceback."""
    try:
        app()
    except BusError as error:
        err.print(f"Kafka: {error}", style="red", highlight=False, soft_wrap=True)
        sys.exit(3)
    except StreamAllocatorError as error:
        err.print(str(error), style="red", highlight=False, soft_wrap=True)
        sys.exit(2)
    except Exception as error:
        from confluent_kafka import KafkaException  # only now: most commands do without

        if not isinstance(error, KafkaException):
            raise
        err.print(f"Kafka: {error.args[0].str()}", style="red", highlight=False, soft_wrap=True)
        sys.exit(3)


if __name__ == "__main__":
    main()
