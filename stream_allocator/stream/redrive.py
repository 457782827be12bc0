"""Sends what a dead letter holds back to where it came from, once.

That it was sent is known from the input topic itself: the record has the header ``redriven-from``. So there
is no state beside the log, and the log is the audit trail.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, Producer

from stream_allocator.archive import Log
from stream_allocator.codec import Codec, digest
from stream_allocator.errors import BusError, CodecError, DataError
from stream_allocator.events import Input
from stream_allocator.letters import Letter, refusal, role_of
from stream_allocator.stream.clients import producer_settings
from stream_allocator.stream.reader import TopicReader
from stream_allocator.stream.record import INPUTS, Record
from stream_allocator.topology import Topology

__all__ = ["REDRIVEN_BY", "REDRIVEN_FROM", "Redrive", "prepare", "read_letters", "send"]

#: ``TOPIC/PARTITION:OFFSET`` of the dead letter that a record was sent again from, and who did it.
REDRIVEN_FROM = "redriven-from"
REDRIVEN_BY = "redriven-by"
DELIVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Redrive:
    """A record that is ready to be sent.

    Attributes
    ----------
    topic : str
    partition : int or None
        The origin's; None, so that the key decides, where the letter is there because of a wrong key.
    key, value : bytes
    headers : tuple of (str, bytes)
    event : Input
        What the record holds.
    """

    topic: str
    partition: int | None
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    event: Input


def read_letters(topology: Topology, since: int | None = None, until: int | None = None) -> Log:
    """The dead letters of live topics, up to where they end.

    Parameters
    ----------
    topology : Topology
    since, until : int, optional
        Milliseconds since 1970, of when the worker published them; the latter is left out.
    """
    role = "dead_letters"
    log: dict[tuple[str, int], list[Record]] = {}
    with TopicReader(topology) as reader:
        stretches = {}
        for partition in reader.partitions(role):
            low, high = reader.bounds(role, partition)
            first = low if since is None else reader.offset_at(role, partition, since)
            end = high if until is None else reader.offset_at(role, partition, until)
            stretches[role, partition] = (high if first is None else first, high if end is None else end)
            log[role, partition] = []
        for record in reader.read(stretches):
            log[record.role, record.partition].append(record)
    return log


def prepare(
    topology: Topology,
    letter: Letter,
    operator: str,
    event: Any = None,
    *,
    refused: Collection[tuple[str, int, int]] = (),
    again: bool = False,
) -> Redrive:
    """What would be sent for a letter: its record as it was, or a mended event in its place.

    Parameters
    ----------
    topology : Topology
    letter : Letter
    operator : str
        Who asks for it; stands in a header.
    event : ReturnEvent, PositionEvent or ControlEvent, optional
        Instead of what the letter holds.
    refused : collection of (str, int, int)
        Topic, partition and offset of records that became dead letters: their sequences do not count.
    again : bool
        Though it was sent before.

    Raises
    ------
    DataError
        When it would be of no use: no event, refused as it is, late, older than what its source has sent
        since; or when it was sent before.
    """
    role, codec = role_of(letter, topology), Codec(topology.wire.schema_ids)
    with TopicReader(topology) as reader:
        if event is None:
            value, headers, event = _original(reader, letter, role, codec)
        else:
            value, framed = codec.frame(event)
            headers = tuple(framed)
        _refuse_useless(topology, letter, event)
        if not again:
            _refuse_repeat(reader, letter, role, codec, event, refused)
    mark = f"{topology.topics.dead_letters}/{letter.at}"
    headers = tuple((k, v) for k, v in headers if k not in (REDRIVEN_FROM, REDRIVEN_BY))
    return Redrive(
        topic=letter.event.topic,
        partition=None if letter.event.code == "wrong_key" else letter.event.partition,
        key=event.universe.encode(),
        value=value,
        headers=(*headers, (REDRIVEN_FROM, mark.encode()), (REDRIVEN_BY, operator.encode())),
        event=event,
    )


def send(topology: Topology, redrive: Redrive) -> tuple[int, int]:
    """Publish it; partition and offset that it got.

    Raises
    ------
    BusError
        When the broker did not take it in time.
    """
    producer = Producer(producer_settings(topology))
    done: list[Any] = []
    where = {} if redrive.partition is None else {"partition": redrive.partition}
    producer.produce(
        redrive.topic,
        redrive.value,
        key=redrive.key,
        headers=list(redrive.headers),
        on_delivery=lambda error, message: done.append(error or message),
        **where,
    )
    producer.flush(DELIVERY_SECONDS)
    if not done or isinstance(done[0], KafkaError):
        why = done[0].str() if done else f"not within {DELIVERY_SECONDS:g} s; look before you try again"
        raise BusError(f"{redrive.topic}: not delivered: {why}")
    return int(done[0].partition()), int(done[0].offset())


def _original(
    reader: TopicReader, letter: Letter, role: str, codec: Codec
) -> tuple[bytes, tuple[tuple[str, bytes], ...], Any]:
    """Value and headers as they were, whole, and the event that they hold now."""
    event = letter.event
    value, headers = event.value, tuple((h.name, h.value) for h in event.headers)
    if event.cut is not None:
        stretch = {(role, event.partition): (event.offset, event.offset + 1)}
        found = next(iter(reader.read(stretch)), None)
        if found is None or digest(found.value or b"") != event.cut.value_digest:
            raise DataError(f"letter {letter.at} is cut, and its record is no longer at its origin; mend it")
        value, headers = found.value, found.headers
    try:
        return value or b"", headers, codec.unframe_form(INPUTS[role], value, headers)
    except CodecError as error:
        raise DataError(
            f"letter {letter.at} would become one again: {error}; give a mended event with --event"
        ) from error


def _refuse_useless(topology: Topology, letter: Letter, event: Any) -> None:
    rejection = refusal(event, topology)
    if rejection is not None:
        raise DataError(
            f"letter {letter.at} would become one again: {rejection.code}: {rejection.reason}; "
            "give a mended event with --event, or mend the topology"
        )
    if letter.event.code == "late" and event.event_time <= _time(letter, topology):
        raise DataError(
            f"letter {letter.at}: its bar has closed, and what a bar decided stands; returns that came late "
            "cannot be put back. They are in the letter for whoever computes with history"
        )


def _time(letter: Letter, topology: Topology) -> int:
    headers = tuple((h.name, h.value) for h in letter.event.headers)
    codec = Codec(topology.wire.schema_ids)
    return int(codec.unframe_form(INPUTS["returns"], letter.event.value, headers).event_time)


def _refuse_repeat(
    reader: TopicReader,
    letter: Letter,
    role: str,
    codec: Codec,
    event: Any,
    refused: Collection[tuple[str, int, int]],
) -> None:
    """Look through what came after the record on its own partition."""
    mark = f"{reader.topology.topics.dead_letters}/{letter.at}".encode()
    partition = letter.event.partition
    low, high = reader.bounds(role, partition)
    places = [(partition, max(low, letter.event.offset + 1), high)]
    if letter.event.code == "wrong_key":  # the key decides where it goes
        others = [p for p in reader.partitions(role) if p != partition]
        places += [(p, *reader.bounds(role, p)) for p in others]
    source = _source(event)
    for record in reader.read({(role, p): (first, end) for p, first, end in places}):
        if (REDRIVEN_FROM, mark) in record.headers:
            raise DataError(
                f"letter {letter.at} was sent before, as offset {record.offset} of {letter.event.topic} "
                f"[{record.partition}]; --again sends it once more"
            )
        if (letter.event.topic, record.partition, record.offset) in refused:
            continue
        try:
            later = codec.unframe_form(INPUTS[role], record.value, record.headers)
        except CodecError:
            continue
        same = record.key == event.universe.encode() and _source(later) == source
        if same and later.sequence >= event.sequence:
            raise DataError(
                f"letter {letter.at}: {event.source} has sent sequence {later.sequence} since (offset "
                f"{record.offset}), so sequence {event.sequence} would be dropped as a duplicate; give a "
                "mended event with a sequence above"
            )


def _source(event: Any) -> tuple[str, str, str]:
    return event.universe, getattr(event, "portfolio", ""), event.source
