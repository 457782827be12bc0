"""Dead letters for people: which there are, what is wrong with each and where, and how one is mended.

Pure: it imports no Kafka. Sending one back is :mod:`stream_allocator.stream.redrive`.
"""

import dataclasses
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
from pydantic import TypeAdapter, ValidationError

from stream_allocator.codec import FINGERPRINT_HEADER, FORMS, SCHEMA_NAMES, Codec, raw_schema, unframed
from stream_allocator.errors import CodecError, DataError
from stream_allocator.events import ControlEvent, DeadLetter, Input, PositionEvent, Rejection
from stream_allocator.intake import refuse_control, refuse_positions, refuse_returns
from stream_allocator.stream.record import INPUTS, Record
from stream_allocator.topology import Topology

__all__ = [
    "Choice",
    "Letter",
    "counts",
    "find",
    "hex_dump",
    "letters",
    "mended",
    "refusal",
    "report",
    "role_of",
]

DUMP_BYTES = 512


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter and where on its own topic it stands."""

    partition: int
    offset: int
    event: DeadLetter

    @property
    def at(self) -> str:
        """``PARTITION:OFFSET``, as commands take it."""
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are wanted; what is None lets all pass.

    Attributes
    ----------
    code, topic : str, optional
        The topic is the origin's.
    universe : str, optional
        As the record's key says.
    first, last : int, optional
        Offsets of the origin, both included.
    """

    code: str | None = None
    topic: str | None = None
    universe: str | None = None
    first: int | None = None
    last: int | None = None

    def __call__(self, letter: Letter) -> bool:
        event = letter.event
        return (
            self.code in (None, event.code)
            and self.topic in (None, event.topic)
            and (self.universe is None or event.key == self.universe.encode())
            and (self.first is None or event.offset >= self.first)
            and (self.last is None or event.offset <= self.last)
        )


def letters(records: Iterable[Record], codec: Codec) -> Iterator[Letter]:
    """The letters that records of the dead-letter topic hold.

    Raises
    ------
    DataError
        For a record that is no dead letter, naming its place.
    """
    for record in records:
        try:
            event = codec.unframe(DeadLetter, record.value, record.headers)
        except CodecError as error:
            raise DataError(f"dead letters [{record.partition}] offset {record.offset}: {error}") from error
        yield Letter(record.partition, record.offset, event)


def find(found: Iterable[Letter], at: str) -> Letter:
    """The letter at ``PARTITION:OFFSET``.

    Raises
    ------
    DataError
        When there is none, or ``at`` is no such place.
    """
    partition, _, offset = at.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise DataError(f"{at} is no PARTITION:OFFSET; stream-allocator dead-letters list shows them")
    wanted = int(partition), int(offset)
    for letter in found:
        if (letter.partition, letter.offset) == wanted:
            return letter
    raise DataError(f"no dead letter at {at}; stream-allocator dead-letters list shows them")


def counts(found: Iterable[Letter]) -> dict[str, int]:
    """Code -> how many, the most frequent first."""
    return dict(Counter(letter.event.code for letter in found).most_common())


def report(letter: Letter, topology: Topology) -> dict[str, Any]:
    """Everything that is known of a letter, for JSON.

    ``decoded`` holds the fields that could be read, and ``fault`` where reading ended and why; None where the
    bytes are an event. ``event`` can be mended and given to ``redrive``.
    """
    event = letter.event
    role = role_of(letter, topology)
    codec = Codec(topology.wire.schema_ids)
    headers = tuple((h.name, h.value) for h in event.headers)
    whole = None
    decoded: dict[str, Any] = {}
    fault = None
    try:
        whole = _plain(codec.unframe_form(INPUTS[role], event.value, headers))
    except CodecError as error:
        decoded, fault = _first_fault(INPUTS[role], event, topology.wire.framing == "confluent")
        fault = fault or str(error)
    return {
        "letter": letter.at,
        "origin": f"{event.topic} [{event.partition}] offset {event.offset}",
        "code": event.code,
        "reason": event.reason,
        "key": None if event.key is None else event.key.decode("utf-8", "backslashreplace"),
        "headers": [[h.name, h.value.decode("utf-8", "backslashreplace")[:200]] for h in event.headers],
        "value_bytes": None if event.value is None else len(event.value),
        "cut": None if event.cut is None else dataclasses.asdict(event.cut),
        "event": whole,
        "decoded": _plain(decoded),
        "fault": fault,
    }


def mended(path: Path, cls: type[Any]) -> Any:
    """An event from a JSON file: the fields of its class, each once.

    Raises
    ------
    DataError
        Naming the file, the field and what is wrong with it.
    """
    known = {f.name for f in dataclasses.fields(cls)}
    try:
        text = path.read_text("utf-8")
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("it must be one object, the event")
        unknown = sorted(data.keys() - known)
        if unknown:
            raise ValueError(f"no such field: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        return TypeAdapter(cls).validate_json(text)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: not a {cls.__name__}: {where}: {first['msg']}") from error
    except ValueError as error:
        raise DataError(f"{path}: not a {cls.__name__}: {error}") from error


def refusal(event: Input, topology: Topology) -> Rejection | None:
    """Why an engine of this topology would refuse an event whatever its state; None where it would not."""
    universe = topology.universe(event.universe)
    if universe is None:
        return Rejection(
            "unknown_universe", f"topology {topology.name} has no universe {event.universe[:100]}"
        )
    if isinstance(event, PositionEvent):
        return refuse_positions(event, universe)
    if isinstance(event, ControlEvent):
        return refuse_control(event, universe)
    return refuse_returns(event, universe)


def hex_dump(value: bytes, limit: int = DUMP_BYTES) -> list[str]:
    """Offset, 16 bytes and their ASCII a line, up to ``limit`` bytes."""
    lines = []
    shown = value[:limit]
    for at in range(0, len(shown), 16):
        row = shown[at : at + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        lines.append(f"{at:08x}  {row.hex(' '):<47}  {text}")
    if len(value) > limit:
        lines.append(f"... {len(value) - limit} bytes more")
    return lines


def _first_fault(cls: type, event: DeadLetter, framed: bool) -> tuple[dict[str, Any], str | None]:
    """The fields that can be read one after another, and where and why that ends; None where it does not."""
    body = event.value or b""
    body = unframed(body) if framed else body
    writer = next((h.value for h in event.headers if h.name == FINGERPRINT_HEADER), None)
    for form in FORMS.get(cls, (cls,)):
        marks = Codec().marks(form)
        if marks is not None and (FINGERPRINT_HEADER, writer) in (marks[1] or ()):
            cls = form
    stream, read = io.BytesIO(body), {}
    for field in raw_schema(SCHEMA_NAMES[cls])["fields"]:
        kind, at = field["type"], stream.tell()
        if isinstance(kind, dict) and "logicalType" in kind:
            kind = kind["type"]
        try:
            read[field["name"]] = fastavro.schemaless_reader(stream, fastavro.parse_schema(kind), None)
        except Exception as error:  # fastavro raises whatever the bytes lead it into
            return read, f"field {field['name']}, which begins at byte {at} of {len(body)}: {_words(error)}"
    rest = len(body) - stream.tell()
    return read, f"{rest} bytes after the last field, from byte {stream.tell()} on" if rest else None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def role_of(letter: Letter, topology: Topology) -> str:
    """Role of the topic that a letter came from.

    Raises
    ------
    DataError
        When that is no input of the topology.
    """
    roles = {name: role for role, name in topology.topics.names.items() if role in INPUTS}
    if letter.event.topic not in roles:
        raise DataError(
            f"letter {letter.at} is from topic {letter.event.topic}, no input of topology {topology.name}"
        )
    return roles[letter.event.topic]


def _plain(value: Any) -> Any:
    """For JSON: dataclasses as objects, bytes in hexadecimal."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.hex() if isinstance(value, bytes) else value
