"""The compiled reader of return records in their current schemas, for records without anything unusual.

It says "not mine" to whatever it does not read to the last byte with nothing to object to, and never says
why: the codec and the engine's intake read such a record again, and they are the ones with reasons.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_allocator.intake import LARGEST_MONEY, LARGEST_RETURN, LAST_TIME, LONGEST_NAME
from stream_allocator.regime.elementary import in_place, inlined

__all__ = [
    "COLUMNS",
    "END",
    "EVENT_TIME",
    "FIRST",
    "ORDER",
    "PACKED",
    "PLAIN",
    "SEQUENCE",
    "SOURCE",
    "SOURCE_END",
    "UNIVERSE",
    "VOLUMES",
    "fill_slots",
    "read_returns",
]

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Forms of a record.
PLAIN, PACKED = 0, 1
#: Bytes of the fingerprint of an asset order.
ORDER = 8
#: Columns of a row: the universe's number or -1, where the source's name stands, sequence, event time, where
#: the record's assets stand in the arrays, and whether there are volumes.
UNIVERSE, SOURCE, SOURCE_END, SEQUENCE, EVENT_TIME, FIRST, END, VOLUMES = range(8)
COLUMNS = 8


@inlined
def _integer(buffer: Bytes, at: int, end: int) -> tuple[Any, int]:
    """A zigzag integer of up to nine bytes and where it ends; -1 where there is none."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while at < end and shift < np.uint64(63):
        byte = np.uint64(buffer[at])
        at += 1
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at
        shift += np.uint64(7)
    return 0, -1


@inlined
def _span(buffer: Bytes, at: int, end: int) -> tuple[int, int]:
    """Begin and end of a string or of bytes; -1 where it does not fit."""
    length, at = _integer(buffer, at, end)
    if at < 0 or length < 0 or length > end - at:
        return -1, -1
    return at, at + length


@inlined
def _same(buffer: Bytes, at: int, end: int, names: Bytes, begin: int, stop: int) -> bool:
    if end - at != stop - begin:
        return False
    for k in range(end - at):  # noqa: SIM110
        if buffer[at + k] != names[begin + k]:
            return False
    return True


@inlined
def _slot(buffer: Bytes, at: int, end: int, mask: int) -> Any:
    """Where a name's search begins: FNV-1a."""
    value = np.uint64(0xCBF29CE484222325)
    for k in range(at, end):
        value = (value ^ np.uint64(buffer[k])) * np.uint64(0x100000001B3)
    return np.int64((value ^ (value >> np.uint64(29))) & np.uint64(mask))


@in_place
def fill_slots(slots: Integers, names: Bytes, bounds: Integers) -> None:
    """Enter names into a table of a power of two slots, at least twice as many as names; -1 is empty."""
    mask = slots.size - 1
    slots[:] = -1
    for name in range(bounds.size - 1):
        k = _slot(names, bounds[name], bounds[name + 1], mask)
        while slots[k] >= 0:
            k = (k + 1) & mask
        slots[k] = name


@inlined
def _find(
    buffer: Bytes,
    at: int,
    end: int,
    slots: Integers,
    base: int,
    size: int,
    names: Bytes,
    bounds: Integers,
    first: int,
) -> int:
    """Number of a name among those from ``first`` on whose slots begin at ``base``; -1 where it is none."""
    k = _slot(buffer, at, end, size - 1)
    while slots[base + k] >= 0:
        name = int(slots[base + k])
        if _same(buffer, at, end, names, bounds[first + name], bounds[first + name + 1]):
            return name
        k = (k + 1) & (size - 1)
    return -1


@inlined
def _take(buffer: Bytes, at: int, count: int, into: Bytes, first: int) -> None:
    """Copy numbers byte for byte: they need not stand on a multiple of eight."""
    for k in range(8 * count):
        into[8 * first + k] = buffer[at + k]


@inlined
def _possible(numbers: Floats, first: int, end: int, least: float, most: float) -> bool:
    """Whether none is below ``least`` or above ``most``; NaN is neither."""
    for k in range(first, end):  # noqa: SIM110
        if numbers[k] < least or numbers[k] > most:
            return False
    return True


@inlined
def _array(buffer: Bytes, at: int, end: int, count: int) -> tuple[int, int]:
    """Begin of an array of so many doubles in one block, and where it ends; -1 where it is none such."""
    n, at = _integer(buffer, at, end)
    if at < 0 or n != count or end - at < 8 * count + 1 or buffer[at + 8 * count] != 0:
        return -1, -1
    return at, at + 8 * count + 1


@in_place
def read_returns(
    buffer: Bytes,
    starts: Integers,
    skip: int,
    forms: NDArray[np.int8],
    universes: tuple[Bytes, Integers, Integers, Bytes],
    assets: tuple[Bytes, Integers, Integers, Integers, Integers, Integers],
    serial: int,
    rows: Integers,
    index: Integers,
    returns: Floats,
    volumes: Floats,
    return_bytes: Bytes,
    volume_bytes: Bytes,
) -> None:
    """Read the records of one batch.

    Parameters
    ----------
    buffer : ndarray of uint8
        All records, one after the other.
    starts : ndarray of int64, shape (records + 1,)
    skip : int
        Bytes of framing before each body.
    forms : ndarray of int8, shape (records,)
        ``PLAIN``, ``PACKED``, or -1 for a record that is not to be read.
    universes : tuple
        Names, their bounds, their slots, and their asset orders of ``ORDER`` bytes each.
    assets : tuple
        Of all universes: names, their bounds, slots, where each universe's slots begin (universes + 1),
        where its names begin (universes + 1), and for each name the serial number of the last record that
        named it.
    serial : int
        Of the first record; no two records have the same.
    rows : ndarray of int64, shape (COLUMNS, records)
        Filled; the universe is -1 for a record that must be read by others.
    index, returns, volumes : ndarray
        Filled; each record's assets stand together. They need room for an eighth of the buffer's bytes and
        for the assets of the largest universe.
    return_bytes, volume_bytes : ndarray of uint8
        The same memory as ``returns`` and ``volumes``.
    """
    universe_names, universe_bounds, universe_slots, orders = universes
    names, bounds, slots, slot_bounds, name_bounds, stamps = assets
    filled, universe, expected = 0, -1, 0
    for record in range(forms.size):
        rows[UNIVERSE, record] = -1
        form, at, end = forms[record], starts[record] + skip, starts[record + 1]
        if form < 0:
            continue
        a, at = _span(buffer, at, end)
        if at < 0:
            continue
        if universe < 0 or not _same(
            buffer, a, at, universe_names, universe_bounds[universe], universe_bounds[universe + 1]
        ):
            expected = 0
            universe = _find(
                buffer, a, at, universe_slots, 0, universe_slots.size, universe_names, universe_bounds, 0
            )
            if universe < 0:
                continue
        source, at = _span(buffer, at, end)
        if at < 0 or at - source > LONGEST_NAME:  # bytes: characters are for those who decode them
            continue
        source_end = at
        sequence, at = _integer(buffer, at, end)
        if at < 0:
            continue
        event_time, at = _integer(buffer, at, end)
        if at < 0 or event_time < 0 or event_time > LAST_TIME:
            continue
        first_name = name_bounds[universe]
        known = name_bounds[universe + 1] - first_name
        if form == PACKED:
            a, at = _span(buffer, at, end)
            if at < 0 or not _same(buffer, a, at, orders, ORDER * universe, ORDER * universe + ORDER):
                continue
            count = known
            begin, at = _span(buffer, at, end)
            if at < 0 or at - begin != 8 * count:
                continue
            for k in range(count):
                index[filled + k] = k
        else:
            count, at = _integer(buffer, at, end)
            if at < 0 or count <= 0 or count > known:
                continue
            base, size = slot_bounds[universe], slot_bounds[universe + 1] - slot_bounds[universe]
            for k in range(count):
                a, at = _span(buffer, at, end)
                if at < 0:
                    break
                if expected >= known:
                    expected = 0
                name = expected
                if not _same(buffer, a, at, names, bounds[first_name + name], bounds[first_name + name + 1]):
                    name = _find(buffer, a, at, slots, base, size, names, bounds, first_name)
                if name < 0 or stamps[first_name + name] == serial + record:
                    at = -1
                    break
                stamps[first_name + name] = serial + record
                index[filled + k] = name
                expected = name + 1
            if at < 0 or at >= end or buffer[at] != 0:
                continue
            begin, at = _array(buffer, at + 1, end, count)
            if at < 0:
                continue
        _take(buffer, begin, count, return_bytes, filled)
        if not _possible(returns, filled, filled + count, -1.0, LARGEST_RETURN) or at >= end:
            continue
        branch = buffer[at]
        at += 1
        if branch == 2:
            if form == PACKED:
                begin, at = _span(buffer, at, end)
                if at < 0 or at - begin != 8 * count:
                    continue
            else:
                begin, at = _array(buffer, at, end, count)
                if at < 0:
                    continue
            _take(buffer, begin, count, volume_bytes, filled)
            if not _possible(volumes, filled, filled + count, 0.0, LARGEST_MONEY):
                continue
        elif branch != 0:
            continue
        if at != end:
            continue
        rows[UNIVERSE, record] = universe
        rows[SOURCE, record], rows[SOURCE_END, record] = source, source_end
        rows[SEQUENCE, record], rows[EVENT_TIME, record] = sequence, event_time
        rows[FIRST, record], rows[END, record] = filled, filled + count
        rows[VOLUMES, record] = branch == 2
        filled += count
