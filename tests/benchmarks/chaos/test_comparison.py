"""The verdict finds each kind of fault that a campaign looks for, and nothing where there is none."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.chaos.comparison import IDENTITY, judge
from benchmarks.chaos.reader import NOTE, OUTPUT_ROLES, note_of
from benchmarks.chaos.segments import Transactions
from benchmarks.chaos.tally import Verdict
from benchmarks.chaos.world import Chances, Feed, make_world
from stream_allocator.codec import Codec
from stream_allocator.errors import CodecError
from stream_allocator.stream.record import Record
from stream_allocator.stream.shard import Shard

BARS = 60


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A topology, and the log of an uninterrupted run on it: two universes, noise and repeats included."""
    world = make_world(tmp_path_factory.mktemp("world"), "none:1", seed=5, widths=(6, 5), partitions=1)
    shard, codec, feed = (
        Shard(world.topology, 0),
        Codec(),
        Feed(world, Chances(mode=0.05, late=0.05, noise=0.05)),
    )
    log = {(role, 0): [] for role in (*("returns", "positions", "control"), *OUTPUT_ROLES)}
    for bar in range(BARS):
        for universe in range(2):
            for role, event in feed.bar(universe, bar):
                value, headers = (event, []) if isinstance(event, bytes) else codec.frame(event)
                offset = 2 * len(log[role, 0])  # offsets have gaps
                record = Record(role, 0, offset, f"u{universe}".encode(), value, tuple(headers))
                log[role, 0].append(record)
                for out in shard.apply(record):
                    to = log[out.role, 0]
                    to.append(Record(out.role, 0, 2 * len(to), out.key, out.value, out.headers))
    return world.topology, log


def altered(log, role, change):
    return {where: change(list(records)) if where == (role, 0) else records for where, records in log.items()}


def noted(log):
    """What a reader that saw all of it would have noted."""
    return np.concatenate(
        [
            np.array([(i, 0, r.offset, note_of(r.key, r.value)) for r in log[role, 0]], dtype=NOTE)
            for i, role in enumerate(OUTPUT_ROLES)
        ]
    )


def findings(verdict):
    return {
        name
        for name in (
            "lost",
            "duplicated",
            "misordered",
            "aborted_visible",
            "mismatched_bytes",
            "chain_breaks",
            "disagreements",
        )
        if getattr(verdict, name)
    }


def test_an_uninterrupted_run_holds_and_its_figures_are_right(campaign):
    topology, log = campaign
    verdict = judge(topology, log, noted(log))
    assert verdict.holds, verdict.findings
    assert verdict.ticks == BARS * 11
    assert verdict.decisions == len(log["allocations", 0]) > 10
    assert verdict.inputs == sum(len(log[role, 0]) for role in ("returns", "positions", "control"))
    assert min(len(log[role, 0]) for role in ("positions", "control", "dead_letters")) > 0


@pytest.mark.parametrize("role", ["allocations", "evidence", "regimes", "dead_letters"])
def test_a_record_that_is_missing_is_lost(campaign, role):
    topology, log = campaign
    verdict = judge(topology, altered(log, role, lambda rs: rs[:1] + rs[2:]))
    assert verdict.lost == 1
    assert findings(verdict) == {"lost"}
    assert "is lost" in verdict.findings[0]


@pytest.mark.parametrize("role", ["allocations", "evidence", "regimes", "dead_letters"])
def test_a_record_that_comes_twice_is_doubled(campaign, role):
    topology, log = campaign
    verdict = judge(topology, altered(log, role, lambda rs: [*rs, replace(rs[1], offset=10**6)]))
    assert verdict.duplicated == 1
    assert findings(verdict) == {"duplicated"} | ({"misordered"} if verdict.misordered else set())


def test_a_record_that_nothing_led_to_is_counted_with_the_doubled(campaign):
    topology, log = campaign
    fewer = altered(log, "returns", lambda rs: rs[:-10])
    assert {"duplicated"} <= findings(judge(topology, fewer))


@pytest.mark.parametrize("role", OUTPUT_ROLES)
def test_one_flipped_byte_is_found(campaign, role):
    topology, log = campaign

    def flip(records):
        cls, identity = IDENTITY[role]
        record, codec = records[1], Codec()
        for at in range(len(record.value) // 2, len(record.value)):
            value = bytearray(record.value)
            value[at] ^= 1
            with contextlib.suppress(CodecError):  # where it would make it unreadable: the next one
                if identity(codec.unframe(cls, bytes(value), record.headers)) == identity(
                    codec.unframe(cls, record.value, record.headers)
                ):
                    return [*records[:1], replace(record, value=bytes(value)), *records[2:]]
        raise AssertionError("no byte can be flipped")

    verdict = judge(topology, altered(log, role, flip))
    assert verdict.mismatched_bytes == 1
    assert findings(verdict) == {"mismatched_bytes"} | ({"chain_breaks"} if role == "audit" else set())


def test_two_records_that_changed_places_are_out_of_order(campaign):
    topology, log = campaign
    first = [i for i, r in enumerate(log["regimes", 0]) if r.key == b"u0"]

    def swap(records):
        a, b = first[7], first[8]
        records[a], records[b] = records[b], records[a]
        return records

    assert findings(judge(topology, altered(log, "regimes", swap))) == {"misordered"}


def test_a_chain_with_a_link_missing_is_broken(campaign):
    topology, log = campaign
    verdict = judge(topology, altered(log, "audit", lambda rs: rs[:5] + rs[6:]))
    assert verdict.chain_breaks == 1
    assert verdict.lost >= 1


def test_a_position_that_was_never_applied_is_lost(campaign):
    topology, log = campaign

    def more(records):
        readable = next(r for r in records if not r.value.startswith(b"noise"))
        return [*records, replace(readable, offset=10**6)]

    verdict = judge(topology, altered(log, "positions", more))
    assert findings(verdict) == {"lost"}
    assert "never applied" in verdict.findings[0]


def test_an_aborted_record_that_a_reader_saw_is_found(campaign):
    topology, log = campaign
    seen, aborted = noted(log), log["allocations", 0][4]
    nothing = {role: transactions([]) for role in OUTPUT_ROLES}
    final = altered(
        log, "allocations", lambda rs: [*rs[:4], replace(rs[4], offset=rs[4].offset + 1), *rs[5:]]
    )
    assert judge(topology, log, seen, nothing).holds
    verdict = judge(
        topology, final, seen, nothing | {"allocations": transactions([(aborted.offset, aborted.offset)])}
    )
    assert verdict.aborted_visible == 1
    assert verdict.aborted == 1
    assert verdict.disagreements == 1
    assert "was aborted, and a reader saw it" in "".join(verdict.findings)


def transactions(aborted):
    ranges = np.array(aborted, dtype=np.int64).reshape(-1, 2)
    return Transactions(ranges, len(aborted), 0, len(aborted), 0.0, 10**6)


@pytest.mark.parametrize("at", [0, 17, -1])
def test_a_concurrent_reader_that_saw_other_records_disagrees(campaign, at):
    topology, log = campaign
    seen = noted(log)
    verdict = judge(topology, log, np.delete(seen, at))
    assert findings(verdict) == {"disagreements"}
    assert verdict.disagreements == 1
    seen["digest"][at] = b"another"
    assert findings(judge(topology, log, seen)) == {"disagreements"}


def test_verdicts_on_partitions_add_up():
    total = sum((Verdict(lost=1, slowest_commit=2.0), Verdict(lost=2, slowest_commit=1.0)), Verdict())
    assert (total.lost, total.slowest_commit) == (3, 2.0)
    assert not total.holds
