"""A worker looks at its topics before it begins; here on the embedded broker, which knows little of them."""

import pytest
import recorded

from stream_allocator.errors import BusError, ConfigurationError
from stream_allocator.stream.checks import check, require
from stream_allocator.stream.embedded import EmbeddedBroker
from stream_allocator.topology import load_topology


@pytest.fixture
def topology(tmp_path):
    return load_topology(recorded.write_topology(tmp_path))


def test_topics_that_are_all_there_have_no_problem(topology):
    with EmbeddedBroker(tuple(topology.topics.names.values())) as broker:
        assert check(topology.at(broker.bootstrap_servers)) == []
        require(topology.at(broker.bootstrap_servers), "worker")


def test_every_missing_topic_is_named_with_what_to_do(topology):
    with EmbeddedBroker(("returns", "positions")) as broker:
        problems = [f.text for f in check(topology.at(broker.bootstrap_servers))]
        assert len(problems) == 7
        assert "topic dead-letters does not exist; run stream-allocator topics create" in problems
        with pytest.raises(BusError, match="topic control does not exist") as caught:
            require(topology.at(broker.bootstrap_servers), "worker")
    assert str(caught.value).splitlines() == problems


def test_a_broker_that_does_not_answer_is_named(topology, monkeypatch):
    monkeypatch.setattr("stream_allocator.stream.clients.ANSWER_SECONDS", 0.3)
    with pytest.raises(BusError, match=r"127\.0\.0\.1:1 does not answer"):
        check(topology.at("127.0.0.1:1"))


def test_a_role_that_does_not_exist_is_an_error_that_names_those_that_do(topology):
    with pytest.raises(ConfigurationError, match="role trader is not one of feeder, oms"):
        check(topology, "trader")
