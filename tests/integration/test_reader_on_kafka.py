"""A reader on a real broker that does not know, or not yet, what it is asked for."""

import contextlib
import time

import pytest
from cluster import make_topology

from stream_allocator.errors import BrokerAway
from stream_allocator.stream.reader import TopicReader

pytestmark = pytest.mark.kafka


def test_what_the_broker_does_not_know_yet_is_waited_for(kafka, tmp_path):
    _, topology = make_topology(tmp_path, kafka.bootstrap_servers)
    found, end = None, time.monotonic() + 30
    with TopicReader(topology) as reader:
        while found is None and time.monotonic() < end:
            with contextlib.suppress(BrokerAway):  # the topic is new, and its leader may not know
                found = reader.bounds("returns", 0)
        assert found == (0, 0)
        with pytest.raises(BrokerAway, match=r"returns-.* \[1\]"):
            reader.bounds("returns", 1)
