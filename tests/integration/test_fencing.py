"""A worker that slept while another took its partitions over publishes nothing more of theirs."""

import random
import time

import pytest
import worlds
from cluster import Feeder, Outputs, WorkerProcess, events, log_of, make_topology

from stream_allocator.audit import first_break
from stream_allocator.replay import replay

pytestmark = pytest.mark.kafka

ROUNDS, SHARE = 2, 1000
BARS = ROUNDS * SHARE
#: Detected soon, so that a sleep of three seconds costs a worker its partition and its transaction.
PROMPT = {"session_timeout_seconds": 1.5, "transaction_timeout_seconds": 1.5, "snapshot_bars": 100}


#: A partition was taken over: restored, or as the worker had kept it where nobody had gone on.
TAKEN = ("restored partition", "kept partition")


def owner_of(workers):
    """The worker that holds the one partition; its log says so last."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        logs = [w.text() for w in workers]
        holding = [
            w
            for w, t in zip(workers, logs, strict=True)
            if max(t.rfind("restored"), t.rfind("kept")) > t.rfind("revoked")
        ]
        if len(holding) == 1:
            return holding[0]
        time.sleep(0.05)
    raise AssertionError("nobody holds the partition")


def check(topology):
    """Every bar once, an unbroken chain, and the bytes of an uninterrupted run."""
    log = log_of(topology)
    assert [u.bar for u in events(log, "regimes")] == list(range(BARS))
    assert first_break(events(log, "audit")) is None
    result = replay(topology, log)
    assert result.identical, result.text()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_worker_that_slept_through_a_rebalance_is_fenced(kafka, tmp_path, protocol):
    worker = {**PROMPT, "group_protocol": protocol}
    path, topology = make_topology(tmp_path, kafka.bootstrap_servers, worker=worker)
    feeder, regimes, dice = Feeder(topology), Outputs(topology, "regimes"), random.Random(7)
    ticks = [worlds.tick(i, x) for i, x in enumerate(worlds.returns(BARS, shift=200))]
    with WorkerProcess(path, None) as first, WorkerProcess(path, None) as second:
        workers = [first, second]
        for w in workers:
            w.until("session instance")
        time.sleep(2)  # the second one's arrival may move the partition
        for turn in range(ROUNDS):
            owner = owner_of(workers)
            other = workers[1 - workers.index(owner)]
            taken = other.times(*TAKEN)
            # all at once: the owner falls asleep in the middle of a long batch, before its transaction
            feeder.send(ticks[turn * SHARE : (turn + 1) * SHARE])
            regimes.until(turn * SHARE + 1, owner)
            time.sleep(dice.random() * 0.2)
            owner.pause()
            other.until(*TAKEN, count=taken + 1)
            if turn == ROUNDS - 1:  # the other one comes and goes: the group is empty when the sleeper wakes
                regimes.until(BARS, other)
                assert other.stop() == 0
                taken = owner.times(*TAKEN)
                owner.resume()
                owner.until(*TAKEN, count=taken + 1)
            else:
                time.sleep(dice.random() * 0.2)
                owner.resume()
                regimes.until((turn + 1) * SHARE, other)
        assert owner.stop() == 0
    check(topology)


def test_of_two_workers_with_one_instance_id_one_stays_and_the_other_says_why(kafka, tmp_path):
    path, topology = make_topology(tmp_path, kafka.bootstrap_servers)
    feeder, regimes = Feeder(topology), Outputs(topology, "regimes")
    ticks = [worlds.tick(i, x) for i, x in enumerate(worlds.returns(60))]
    with WorkerProcess(path, "same") as first:
        feeder.send(ticks[:30])
        regimes.until(30, first)
        with WorkerProcess(path, "same") as second:
            deadline = time.monotonic() + 40
            while (gone := [w for w in (first, second) if w.process.poll() is not None]) == []:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert [w.wait() for w in gone] == [3]
            assert "another worker runs with this instance id" in gone[0].text()
            stays = second if gone[0] is first else first
            feeder.send(ticks[30:])
            regimes.until(60, stays)
            assert stays.stop() == 0
    assert replay(topology, log_of(topology)).identical


def test_two_workers_with_one_instance_id_under_the_new_protocol_lose_and_double_nothing(kafka, tmp_path):
    worker = {**PROMPT, "group_protocol": "consumer"}
    path, topology = make_topology(tmp_path, kafka.bootstrap_servers, worker=worker)
    feeder, regimes = Feeder(topology), Outputs(topology, "regimes")
    ticks = [worlds.tick(i, x) for i, x in enumerate(worlds.returns(BARS, shift=200))]
    with WorkerProcess(path, "same") as first, WorkerProcess(path, "same") as second:
        for start in range(0, BARS, 250):
            feeder.send(ticks[start : start + 250])
            time.sleep(0.5)
        regimes.until(BARS)
        assert all(w.stop() in (0, 3) for w in (first, second))
    check(topology)
