"""The commands on dead letters: list them, look at one, send one back once it is mended."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from stream_allocator.options import AsJson, Bootstrap, TopologyFile, open_topology

__all__ = ["letters_app"]

letters_app = typer.Typer(
    help="List dead letters, look at one, send it back once it is mended.", no_args_is_help=True
)

out = Console(soft_wrap=True)

Archive = Annotated[Path | None, typer.Option(help="read the directory that `record` wrote, not live topics")]
Place = Annotated[
    str, typer.Argument(metavar="PARTITION:OFFSET", help="of the dead letter, as `list` shows it")
]
Moment = typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="UTC, of when the worker published it")


def _found(topology: Any, archive: Path | None, **bounds: int | None) -> list[Any]:
    from stream_allocator.archive import read_archive
    from stream_allocator.codec import Codec
    from stream_allocator.letters import letters

    if archive is not None:
        log = read_archive(archive, ("dead_letters",))
    else:
        from stream_allocator.stream.redrive import read_letters

        log = read_letters(topology, **bounds)
    records = [record for _, records in sorted(log.items()) for record in records]
    return list(letters(records, Codec(topology.wire.schema_ids)))


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.replace(tzinfo=UTC).timestamp() * 1000)


@letters_app.command("list")
def letters_list(
    topology: TopologyFile,
    bootstrap: Bootstrap = None,
    archive: Archive = None,
    code: Annotated[str | None, typer.Option(help="only with this code")] = None,
    topic: Annotated[str | None, typer.Option(help="only from this topic")] = None,
    universe: Annotated[str | None, typer.Option(help="only with this key")] = None,
    first: Annotated[int | None, typer.Option(help="only from this offset of the origin on")] = None,
    last: Annotated[int | None, typer.Option(help="only up to this offset of the origin")] = None,
    since: Annotated[datetime | None, Moment] = None,
    until: Annotated[datetime | None, Moment] = None,
    limit: Annotated[int, typer.Option(min=0, help="the last so many; counts are of all")] = 50,
    as_json: AsJson = False,
) -> None:
    """Which dead letters there are, and how many of each code."""
    from stream_allocator.letters import Choice, counts

    if archive is not None and (since or until):
        raise typer.BadParameter(
            "an archive does not keep when records were published; use --first and --last"
        )
    wanted = Choice(code, topic, universe, first, last)
    bounds = {"since": _milliseconds(since), "until": _milliseconds(until)}
    found = [x for x in _found(open_topology(topology, bootstrap), archive, **bounds) if wanted(x)]
    shown = found[max(0, len(found) - limit) :]
    if as_json:
        rows = [
            {
                "letter": x.at,
                "topic": x.event.topic,
                "partition": x.event.partition,
                "offset": x.event.offset,
                "code": x.event.code,
                "reason": x.event.reason,
                "key": None if x.event.key is None else x.event.key.decode("utf-8", "backslashreplace"),
                "cut": x.event.cut is not None,
            }
            for x in shown
        ]
        print(json.dumps({"count": len(found), "codes": counts(found), "letters": rows}, sort_keys=True))
        return
    for x in shown:
        origin = f"{x.event.topic} [{x.event.partition}] {x.event.offset}"
        out.print(
            f"{x.at}  {x.event.code}  {origin}  {x.event.reason[:120]!a}", highlight=False, markup=False
        )
    summary = ", ".join(f"{n} {name}" for name, n in counts(found).items())
    out.print(f"{len(found)} dead letters" + (f": {summary}" if summary else ""), highlight=False)


@letters_app.command("show")
def letters_show(
    place: Place,
    topology: TopologyFile,
    bootstrap: Bootstrap = None,
    archive: Archive = None,
    as_json: AsJson = False,
) -> None:
    """One dead letter: where from, what is wrong and where, as much as can be decoded, and its bytes."""
    from stream_allocator.letters import find, hex_dump, report

    live = open_topology(topology, bootstrap)
    letter = find(_found(live, archive), place)
    told = report(letter, live)
    if as_json:
        print(json.dumps(told, sort_keys=True))
        return
    for name in ("letter", "origin", "code", "reason", "key", "headers", "value_bytes", "cut", "fault"):
        if told[name] is not None:
            text = told[name] if isinstance(told[name], str) else json.dumps(told[name])
            out.print(
                f"{name}: {text!a}" if name == "key" else f"{name}: {text}", highlight=False, markup=False
            )
    print(json.dumps(told["event"] or told["decoded"], indent=2))
    for line in hex_dump(letter.event.value or b""):
        print(line)


@letters_app.command("redrive")
def letters_redrive(
    place: Place,
    topology: TopologyFile,
    operator: Annotated[str, typer.Option(help="who; stands in a header of the record")],
    bootstrap: Bootstrap = None,
    event: Annotated[
        Path | None, typer.Option(help="the mended event (JSON, as `show --json` has it under `event`)")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="though it was sent before")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    as_json: AsJson = False,
) -> None:
    """Send a dead letter's record, or a mended event in its place, back to the topic that it came from."""
    from stream_allocator.letters import find, mended, role_of
    from stream_allocator.stream.record import INPUTS
    from stream_allocator.stream.redrive import prepare, send

    live = open_topology(topology, bootstrap)
    all_letters = _found(live, None)
    letter = find(all_letters, place)
    refused = {(x.event.topic, x.event.partition, x.event.offset) for x in all_letters}
    replacement = None if event is None else mended(event, INPUTS[role_of(letter, live)])
    ready = prepare(live, letter, operator, replacement, refused=refused, again=again)
    what = "the record as it was" if event is None else f"the event of {event}"
    to = ready.topic if ready.partition is None else f"{ready.topic} [{ready.partition}]"
    if not yes:
        typer.confirm(f"Send {what} of letter {place} ({letter.event.code}) to {to}?", abort=True, err=True)
    partition, offset = send(live, ready)
    if as_json:
        sent = {"letter": place, "topic": ready.topic, "partition": partition, "offset": offset}
        print(json.dumps(sent, sort_keys=True))
    else:
        out.print(f"sent letter {place} to {ready.topic} [{partition}] as offset {offset}", highlight=False)
