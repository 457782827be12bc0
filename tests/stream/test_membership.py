"""What a rebalance gives back is kept only where nobody has gone on from it."""

import contextlib

import pytest
import recorded
import worlds
from confluent_kafka import TopicPartition

from stream_allocator.engine import Engine
from stream_allocator.errors import OffsetsBehind
from stream_allocator.stream import membership
from stream_allocator.stream.membership import Membership
from stream_allocator.stream.part import Part
from stream_allocator.stream.record import INPUTS
from stream_allocator.stream.restore import Manifest, restore
from stream_allocator.stream.shard import Shard
from stream_allocator.telemetry import Telemetry
from stream_allocator.topology import load_topology

HISTORY = [worlds.tick(i, x) for i, x in enumerate(worlds.returns(30))]


class Told:
    """The group's side of a consumer: committed offsets, answer after answer, the last one for ever."""

    def __init__(self, *answers):
        self._answers, self.asked, self.assigned = list(answers), 0, []

    def committed(self, partitions, timeout):
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        return [answer[tp.topic] for tp in partitions]

    def assign(self, partitions):
        self.assigned = partitions


@pytest.fixture
def rebalanced(tmp_path, monkeypatch):
    """A member after so many events, which another took over from and brought to the end of the history.

    Its membership, and what was committed then and in the end.
    """
    topology = load_topology(recorded.write_topology(tmp_path))
    monkeypatch.setattr(membership, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(membership, "BEHIND_SECONDS", 0.2)

    def after(taken):
        shard = Shard(topology, 0)
        then = recorded.run(topology, HISTORY[:taken], shard)
        manifest = Manifest(shard.digest(), first=dict.fromkeys(INPUTS, 0)).to_metadata()
        offsets = {role: len(then.get((role, 0), [])) for role in INPUTS}
        names = topology.topics.names
        committed = {names[r]: TopicPartition(names[r], 0, o, metadata=manifest) for r, o in offsets.items()}
        return recorded.Topics(topology, then), offsets, manifest, committed

    def make(taken):
        reader, offsets, manifest, old = after(taken)
        whole, _, _, new = after(len(HISTORY))
        monkeypatch.setattr(membership, "TopicReader", lambda *_, **__: contextlib.nullcontext(whole))
        telemetry = Telemetry("none", "w")
        member = Membership(topology, Engine, telemetry, lambda: None, lambda _: None)
        member.parts[0] = Part(restore(reader, 0, offsets, manifest))
        member._revoked(None, list(old.values()))
        return member, old, new

    return make


def test_what_is_still_the_last_state_is_kept(rebalanced):
    member, _, new = rebalanced(len(HISTORY))
    kept, consumer = member._parked[0], Told(new)
    member._assigned(consumer, list(new.values()))
    assert member.parts[0] is kept
    assert {tp.topic: tp.offset for tp in consumer.assigned} == {name: tp.offset for name, tp in new.items()}


@pytest.mark.parametrize("taken", [29, 20, 1])
def test_what_another_has_gone_on_from_is_not_kept_whatever_the_coordinator_says(rebalanced, taken):
    member, old, new = rebalanced(taken)
    left, consumer = member._parked[0], Told(old, old, new)
    member._assigned(consumer, list(new.values()))
    assert consumer.asked == 3
    assert member.parts[0] is not left
    assert member.parts[0].shard.bars == len(HISTORY)


def test_a_coordinator_that_goes_on_telling_it_ends_the_worker(rebalanced):
    member, old, _ = rebalanced(20)
    with pytest.raises(OffsetsBehind):
        member._assigned(Told(old), list(old.values()))
    assert 0 not in member.parts
