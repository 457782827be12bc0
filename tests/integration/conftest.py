"""Real Kafka for the session's integration tests: one broker, and a cluster of three nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from absence import skip_unless_ci

from benchmarks.brokers import Broker, BrokerUnavailable, running_broker
from benchmarks.brokers.cluster import LocalCluster

FOUND: list[str] = []  # what the broker of this session was, for the closing summary


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """A broker with `.bootstrap_servers`. None to be had: the test is skipped, and fails under CI."""
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(running_broker())
        except BrokerUnavailable as reason:
            FOUND.append(f"none ({reason})")
            skip_unless_ci(f"no Kafka broker: {reason}")
        FOUND.append(broker.description)
        yield broker


@pytest.fixture(scope="session")
def replicated() -> Iterator[LocalCluster]:
    """Three nodes behind proxies, all up and in sync; who breaks one mends it."""
    try:
        cluster = LocalCluster()
    except BrokerUnavailable as reason:
        skip_unless_ci(f"no local cluster: {reason}")
    with cluster:
        yield cluster


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for broker in FOUND:
        terminalreporter.write_line(f"Kafka broker: {broker}")
