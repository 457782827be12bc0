"""Return records to arrays, a batch at a time.

The common record (current schema, known universe and assets, possible numbers) is read by a compiled loop
over the bytes of the whole batch. Everything else is left to the codec and to the engine's intake, which
define what a record means: a record has the same outputs whichever of the two reads it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_allocator.codec import FINGERPRINT_HEADER, Codec
from stream_allocator.events import PackedReturnEvent, ReturnEvent
from stream_allocator.packed import asset_order
from stream_allocator.stream.decoder_kernel import COLUMNS, PACKED, PLAIN, fill_slots, read_returns
from stream_allocator.stream.record import UNREADABLE_HEADERS, Record
from stream_allocator.topology import Topology

__all__ = ["DecodedReturns", "Fetched", "RecordBatch", "ReturnDecoder"]

Headers = Sequence[tuple[str, bytes | None]] | None

#: Sources whose names are kept; a feed has a few.
SOURCES = 1000
UNREAD = -1


class Fetched(Protocol):
    """A run of consecutive records of one topic partition, as they were fetched."""

    def values(self) -> list[bytes | None]:
        """Their values."""

    def keys(self) -> list[bytes | None]:
        """Their keys."""

    def headers(self) -> Iterable[Headers]:
        """Their headers, as the client gives them."""

    def offsets(self) -> list[int]:
        """Their offsets, which rise."""

    def record(self, i: int) -> Record:
        """The ``i``-th of them, whole."""


class RecordBatch:
    """Records that were read already, as :class:`Fetched`."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def values(self) -> list[bytes | None]:
        """Their values."""
        return [r.value for r in self._records]

    def keys(self) -> list[bytes | None]:
        """Their keys."""
        return [r.key for r in self._records]

    def headers(self) -> Iterable[Headers]:
        """Their headers."""
        return [r.headers for r in self._records]

    def offsets(self) -> list[int]:
        """Their offsets."""
        return [r.offset for r in self._records]

    def record(self, i: int) -> Record:
        """The ``i``-th of them."""
        return self._records[i]


#: What :meth:`DecodedReturns.row` gives: universe, source, sequence, event time, where the record's assets
#: stand, and whether there are volumes.
Row = tuple[str | None, str, int, int, int, int, int]
NOT_READ: Row = (None, "", 0, 0, 0, 0, 0)


class DecodedReturns:
    """A batch in arrays.

    Attributes
    ----------
    fetched : Fetched
    offsets : list of int
    index, returns, volumes : ndarray
        Assets, as places in their universe, and their numbers, of all records one after the other.
    """

    __slots__ = (
        *("_begins", "_decoder", "_ends", "_firsts", "_has_volumes", "_keys", "_lasts", "_numbers"),
        *("_sequences", "_text", "_times", "fetched", "index", "offsets", "returns", "volumes"),
    )

    def __init__(
        self,
        decoder: "ReturnDecoder",
        fetched: Fetched,
        rows: NDArray[np.int64],
        keys: list[bytes | None],
        text: bytes,
        *arrays: NDArray[Any],
    ) -> None:
        self._decoder, self._keys, self._text = decoder, keys, text
        # lists of numbers: a list for each record would set off the collector again and again
        self._numbers, self._begins, self._ends, self._sequences, self._times, *rest = rows.tolist()
        self._firsts, self._lasts, self._has_volumes = rest
        self.fetched = fetched
        self.offsets = fetched.offsets()
        self.index, self.returns, self.volumes = arrays

    def __len__(self) -> int:
        return len(self._numbers)

    def row(self, i: int) -> Row:
        """The ``i``-th record; its universe is None where the codec must read it."""
        number = self._numbers[i]
        if number < 0 or self._keys[i] != self._decoder.keys[number]:
            return NOT_READ
        source = self._decoder.source(self._text[self._begins[i] : self._ends[i]])
        if source is None:
            return NOT_READ
        universe = self._decoder.universes[number]
        place = self._firsts[i], self._lasts[i], self._has_volumes[i]
        return universe, source, self._sequences[i], self._times[i], *place


class ReturnDecoder:
    """Reads batches of the returns topic.

    Parameters
    ----------
    topology : Topology
    codec : Codec

    Notes
    -----
    A universe is entered into the tables when its first record comes: a topology may have thousands of them,
    and a partition has some.
    """

    def __init__(self, topology: Topology, codec: Codec) -> None:
        self._topology = topology
        self._forms: dict[bytes | None, int] = {}
        self._usual: list[list[tuple[str, bytes]]] = []
        self._framed = False
        for form, cls in ((PLAIN, ReturnEvent), (PACKED, PackedReturnEvent)):
            marks = codec.marks(cls)
            if marks is None:
                continue
            prefix, headers = marks
            self._framed = headers is None
            self._forms[prefix if headers is None else headers[0][1]] = form
            self._usual.append(headers or [])
        self._skip = 5 if self._framed else 0
        self._serial = 1
        self._sources: dict[bytes, str] = {}
        self._tables: dict[str, _Table] = {}
        self._renew()
        self.decode(RecordBatch(()))  # compiles, or loads what was compiled, before a record waits for it

    def decode(self, fetched: Fetched) -> DecodedReturns:
        """Read a batch of records."""
        values, keys = fetched.values(), fetched.keys()
        if unknown := set(keys).difference(self.keys):
            self._learn(unknown)
        forms = self._forms_of(values, fetched.headers())
        bodies = [v or b"" for v in values]
        text = b"".join(bodies)
        starts = np.zeros(len(bodies) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, bodies), dtype=np.int64, count=len(bodies)), out=starts[1:])
        rows = np.empty((COLUMNS, len(bodies)), dtype=np.int64)
        room = len(text) // 8 + self._largest
        index, returns, volumes = np.empty(room, dtype=np.int64), np.empty(room), np.empty(room)
        read_returns(
            np.frombuffer(text, dtype=np.uint8),
            starts,
            self._skip,
            np.array(forms, dtype=np.int8),
            self._universe_table,
            self._asset_table,
            self._serial,
            rows,
            index,
            returns,
            volumes,
            returns.view(np.uint8),
            volumes.view(np.uint8),
        )
        self._serial += len(bodies)
        return DecodedReturns(self, fetched, rows, keys, text, index, returns, volumes)

    def source(self, name: bytes) -> str | None:
        """A source's name; None for bytes that are no text."""
        try:
            return self._sources[name]
        except KeyError:
            pass
        if len(self._sources) >= SOURCES:
            self._sources.clear()
        try:
            text = name.decode()
        except UnicodeDecodeError:
            return None
        self._sources[name] = text
        return text

    def _forms_of(self, values: Sequence[bytes | None], headers: Iterable[Headers]) -> list[int]:
        if self._framed:
            return [
                UNREAD
                if v is None or (h and h[0][0] == UNREADABLE_HEADERS)
                else self._forms.get(v[:5], UNREAD)
                for v, h in zip(values, headers, strict=True)
            ]
        plain, packed = self._usual
        forms = [PLAIN if h == plain else PACKED if h == packed else self._form(h) for h in headers]
        if None in values:
            return [UNREAD if v is None else f for v, f in zip(values, forms, strict=True)]
        return forms

    def _form(self, headers: Headers) -> int:
        if headers and headers[0][0] == UNREADABLE_HEADERS:
            return UNREAD
        for name, value in headers or ():
            if name == FINGERPRINT_HEADER:
                return self._forms.get(value, UNREAD)
        return PLAIN

    def _learn(self, keys: Iterable[bytes | None]) -> None:
        """Enter universes, which is what keys name, into the tables, where the topology has them.

        The tables are renewed once for all of a batch: a partition of a thousand universes meets most of
        them in its first one.
        """
        names = sorted((key or b"").decode("utf-8", "replace") for key in keys)
        found = {name: universe for name in names if (universe := self._topology.universe(name)) is not None}
        if found:
            self._tables |= {name: _Table(universe.assets) for name, universe in found.items()}
            self._renew()

    def _renew(self) -> None:
        """The tables of all universes as one."""
        tables = list(self._tables.values())
        self.universes = list(self._tables)
        self.keys = [name.encode() for name in self.universes]
        names, bounds = _joined(self.universes)
        orders = np.frombuffer(b"".join(t.order for t in tables), dtype=np.uint8)
        self._universe_table = names, bounds, _slots(names, bounds), orders
        begins = np.cumsum([0, *(t.names.size for t in tables)])
        self._asset_table = (
            np.concatenate([np.zeros(0, dtype=np.uint8), *(t.names for t in tables)]),
            np.concatenate(
                [
                    np.zeros(1, dtype=np.int64),
                    *(t.bounds[1:] + b for t, b in zip(tables, begins, strict=False)),
                ]
            ),
            np.concatenate([np.zeros(0, dtype=np.int64), *(t.slots for t in tables)]),
            np.cumsum([0, *(t.slots.size for t in tables)], dtype=np.int64),
            np.cumsum([0, *(t.bounds.size - 1 for t in tables)], dtype=np.int64),
            np.zeros(sum(t.bounds.size - 1 for t in tables), dtype=np.int64),
        )
        self._largest = max((t.bounds.size for t in tables), default=0)


class _Table:
    """The names of one universe's assets, their search slots, and the fingerprint of their order."""

    def __init__(self, assets: tuple[str, ...]) -> None:
        self.names, self.bounds = _joined(assets)
        self.slots = _slots(self.names, self.bounds)
        self.order = asset_order(assets)


def _joined(names: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Names one after the other, and their bounds."""
    encoded = [name.encode() for name in names]
    bounds = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), bounds


def _slots(names: NDArray[np.uint8], bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    slots = np.empty(1 << (2 * bounds.size).bit_length(), dtype=np.int64)
    fill_slots(slots, names, bounds)
    return slots
