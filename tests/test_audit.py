"""Nobody edits the past unseen."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.audit import GENESIS, AuditChain, first_break


def chain(length):
    audit = AuditChain("u")
    return [audit.append("decision", i, i, subject=f"d{i}", outcome="robust") for i in range(length)]


def test_a_chain_starts_at_genesis_and_links_up():
    entries = chain(3)
    assert entries[0].previous == GENESIS
    assert [e.previous for e in entries[1:]] == [e.hash for e in entries[:-1]]
    assert first_break(entries) is None


@pytest.mark.parametrize("field", ["subject", "outcome", "operator", "reason", "digest", "portfolio"])
@given(at=st.integers(0, 4))
def test_a_changed_entry_breaks_the_chain_where_it_stands(field, at):
    entries = chain(5)
    entries[at] = replace(entries[at], **{field: "forged"})
    assert first_break(entries) == at


@given(at=st.integers(0, 3))
def test_a_dropped_or_swapped_entry_breaks_the_chain(at):
    entries = chain(5)
    assert first_break(entries[:at] + entries[at + 1 :]) == at
    entries[at], entries[at + 1] = entries[at + 1], entries[at]
    assert first_break(entries) == at


def test_a_chain_goes_on_from_its_head():
    whole = chain(4)
    later = AuditChain("u", index=3, head=whole[2].hash)
    assert later.append("decision", 3, 3, subject="d3", outcome="robust") == whole[3]
