"""What a session does when a transaction fails: the same outputs again, or a restore; never twice."""

import contextlib
import os
import threading
from pathlib import Path

import pytest
import worlds
from cluster import Feeder, events, log_of, make_topology
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from stream_allocator.audit import first_break
from stream_allocator.errors import BusError, OffsetsBehind
from stream_allocator.replay import replay
from stream_allocator.stream import membership
from stream_allocator.stream import session as sessions
from stream_allocator.stream.clients import admin_client, producer_settings
from stream_allocator.stream.reader import TopicReader
from stream_allocator.stream.session import Session, SessionLost
from stream_allocator.telemetry import Telemetry

pytestmark = pytest.mark.kafka

ABORTABLE = KafkaError(KafkaError._TIMED_OUT, "injected", False, False, True)
LOST = KafkaError(KafkaError.ILLEGAL_GENERATION, "injected", False, False, True)
UNKNOWN = KafkaError(KafkaError._TIMED_OUT, "injected", False, True, False)
TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "injected", False, False, True)


class Failing:
    """A real producer that fails where it is told to: ``(method, before or after the real call, error)``."""

    def __init__(self, producer, *failures):
        self._producer = producer
        self._failures = list(failures)

    def __getattr__(self, name):
        real = getattr(self._producer, name)
        if not self._failures or self._failures[0][0] != name:
            return real

        def fail(*args, **kwargs):
            _, after, error = self._failures.pop(0)
            if after:
                real(*args, **kwargs)
            raise KafkaException(error)

        return fail


class Run:
    """Sessions of one worker in this process, one after the other, until all bars are there."""

    def __init__(self, folder, bootstrap, universes=1, batch_records=1000):
        worker = {"snapshot_bars": 10, "batch_records": batch_records}
        _, self.topology = make_topology(folder, bootstrap, universes=universes, worker=worker)
        self.feeder = Feeder(self.topology)
        self.session = None
        self.lost = []

    def start(self):
        self.session = Session(
            self.topology, "w", static=False, telemetry=Telemetry("none", "w"), progress=lambda: None
        )

    def feed(self, first, last):
        names = [u.name for u in self.topology.universes]
        bars = list(enumerate(worlds.returns(last, shift=20)))[first:]
        self.feeder.send(worlds.tick(i, x, universe=name) for i, x in bars for name in names)
        self.until(last * len(names))

    def until(self, bars):
        for _ in range(600):
            if self.session is None:
                self.start()
            try:
                self.session.poll()
            except SessionLost as error:
                self.lost.append(str(error))
                self.session.close()
                self.session = None
                continue
            parts = self.session._parts
            if parts and parts[0].shard.bars >= bars:
                return
        raise AssertionError(f"{bars} bars were not reached; lost: {self.lost}")

    def fail(self, *failures):
        self.session._producer = Failing(self.session._producer, *failures)


@pytest.fixture
def running(kafka, tmp_path):
    run = Run(tmp_path, kafka.bootstrap_servers)
    run.feed(0, 15)
    yield run
    if run.session is not None:
        run.session.leave()
    log = log_of(run.topology)
    assert [u.bar for u in events(log, "regimes")] == list(range(45))
    assert first_break(events(log, "audit")) is None
    result = replay(run.topology, log)
    assert result.identical, result.text()


@pytest.mark.parametrize("method", ["send_offsets_to_transaction", "commit_transaction"])
def test_an_abortable_error_sends_the_same_outputs_again_without_stepping_twice(running, method):
    running.fail((method, False, ABORTABLE), (method, False, ABORTABLE))
    shard = running.session._parts[0].shard
    running.feed(15, 45)
    assert running.lost == []
    assert running.session._parts[0].shard is shard


@pytest.mark.parametrize("after", [False, True])
def test_a_commit_of_unknown_outcome_restores_whichever_it_was(running, after):
    running.fail(("commit_transaction", after, UNKNOWN))
    running.feed(15, 45)
    assert len(running.lost) == 1


def test_a_lost_generation_drops_the_engines_and_restores(running):
    running.fail(("send_offsets_to_transaction", False, LOST))
    running.feed(15, 45)
    assert len(running.lost) == 1


def test_a_producer_that_another_has_fenced_ends_the_session_and_not_the_worker(running):
    """Its fatal error strikes while deliveries are reported, and reaches us as a SystemError."""
    for last in (25, 35, 45):
        group = running.topology.worker.group
        Producer(producer_settings(running.topology, f"{group}-w")).init_transactions(20)
        running.feed(last - 10, last)
    assert len(running.lost) == 3


def committed(running):
    """The group's offsets with their metadata."""
    names = running.topology.topics.inputs
    return running.session._consumer.committed([TopicPartition(name, 0) for name in names], timeout=20)


def test_a_coordinator_that_tells_old_offsets_is_asked_again(running, monkeypatch):
    """As one may that still loads its log: what is published after them would be published twice."""
    running.feed(15, 30)
    old = committed(running)
    running.feed(30, 44)
    running.session.close()
    running.session = None

    class Loading(Consumer):
        asked = 0

        def committed(self, partitions, timeout):
            Loading.asked += 1
            told = {
                tp.topic: tp for tp in (old if Loading.asked < 3 else super().committed(partitions, timeout))
            }
            return [told[tp.topic] for tp in partitions]

    monkeypatch.setattr(sessions, "Consumer", Loading)
    running.feed(44, 45)
    assert Loading.asked == 3
    assert running.lost == []


@contextlib.contextmanager
def refused(running, monkeypatch, match):
    """What is done to the offsets of the group meanwhile is refused; then they are put back."""
    new = committed(running)
    running.session.close()
    by_hand = Consumer(
        {
            "bootstrap.servers": running.topology.bootstrap_servers,
            "group.id": running.topology.worker.group,
            "enable.auto.commit": False,
        }
    )
    yield by_hand
    monkeypatch.setattr(membership, "BEHIND_SECONDS", 1.0)
    running.start()
    with pytest.raises(OffsetsBehind, match=match):
        running.until(46)
    running.session.close()
    running.session = None
    by_hand.commit(offsets=new, asynchronous=False)
    by_hand.close()


@pytest.mark.parametrize("behind", ["decisions", "a bar without a decision", "a dead letter"])
def test_offsets_that_were_set_back_are_refused_and_nothing_is_published(running, monkeypatch, behind):
    engine, bars = running.session._parts[0].shard.engines["u"], 15

    def on(more):
        """So many bars more; the offsets before them, and whether the audit chain has grown."""
        nonlocal bars
        before, entries, bars = committed(running), engine.audit_entries, bars + more
        running.feed(bars - more, bars)
        return before, engine.audit_entries > entries

    old, decided = on(15)
    assert decided
    while decided and behind == "a bar without a decision":
        old, decided = on(1)
    if behind == "a dead letter":
        old = committed(running)
        running.feeder.raw("returns", b"no event", b"u")
        running.feeder.flush()
        while running.session.poll() == 0:
            pass
    with refused(running, monkeypatch, "older than what is published") as by_hand:
        by_hand.commit(offsets=old, asynchronous=False)
    running.feed(bars, 45)
    assert running.lost == []
    with TopicReader(running.topology) as reader:
        letters = list(reader.read({("dead_letters", 0): (0, None)}))
    assert len(letters) == (behind == "a dead letter")


def test_a_group_whose_offsets_are_gone_does_not_begin_again_where_something_is_published(
    running, monkeypatch
):
    running.feed(15, 30)
    group = running.topology.worker.group
    with (
        refused(running, monkeypatch, f"group {group} has committed no offsets"),
        admin_client(running.topology) as admin,
    ):
        admin.delete_consumer_groups([group])[group].result(20)
    running.feed(30, 45)
    assert running.lost == []


def test_a_restore_waits_for_what_was_committed_behind_a_dead_workers_transaction(running):
    """Until that ends a committed audit entry, which says where a position fell, is not to be seen."""
    name = f"{running.topology.worker.group}-dead"
    dead, successor = (Producer(producer_settings(running.topology, name)) for _ in range(2))
    dead.init_transactions(20)
    dead.begin_transaction()
    dead.produce(running.topology.topics.audit, b"never", partition=0)
    assert dead.flush(20) == 0
    running.feeder.send([worlds.position(14, 0, [300, 300, 200, 100], cash=100)])
    running.feed(15, 45)
    running.session.close()
    running.session = None
    fenced = threading.Timer(1.0, lambda: successor.init_transactions(20))
    fenced.start()
    running.until(45)
    fenced.join()
    assert running.lost == []


def test_errors_that_come_back_after_every_abort_end_the_session(running):
    running.fail(*[("commit_transaction", False, ABORTABLE)] * 5)
    running.feed(15, 45)
    assert running.lost == ["5 transactions in a row were aborted"]


def test_records_that_the_broker_refuses_are_an_error_that_says_so(running):
    running.fail(("commit_transaction", False, TOO_LARGE))
    with pytest.raises(BusError, match="refuses the worker's records"):
        running.feed(15, 45)
    running.session.close()
    running.session = None
    running.until(45)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads where Linux lists them")
def test_a_lost_session_leaves_no_client_behind(running):
    def clients():
        return len(os.listdir("/proc/self/task"))

    before = clients()
    for last in (25, 35, 45):
        running.fail(("commit_transaction", False, UNKNOWN))
        running.feed(last - 10, last)
    assert len(running.lost) == 3
    assert clients() <= before


def test_universes_are_saved_one_a_transaction_and_come_back_from_different_moments(
    kafka, tmp_path, monkeypatch
):
    monkeypatch.setattr("stream_allocator.stream.session.SNAPSHOT_BYTES", 1)
    run = Run(tmp_path, kafka.bootstrap_servers, universes=3, batch_records=4)
    run.feed(0, 15)
    for _ in range(10):
        run.session.poll()  # what was begun is ended, records or not
    (snapshot,) = run.session._parts[0].manifest.snapshots
    assert snapshot.count == 3 + 2  # a marker stands between two transactions
    assert snapshot.inputs["returns"] < 45
    run.feed(15, 16)
    run.session.close()  # as a crash would
    run.session = None
    run.feed(16, 26)
    run.session.leave()
    log = log_of(run.topology)
    assert sorted(u.bar for u in events(log, "regimes")) == sorted(3 * list(range(26)))
    result = replay(run.topology, log)
    assert result.identical, result.text()
