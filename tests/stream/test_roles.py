"""Roles: nobody may do more than one thing that matters, and the docs say what the code says."""

import pytest
import recorded

from stream_allocator.stream.roles import ROLES, commands, rights, role_named, table
from stream_allocator.topology import load_topology


@pytest.fixture
def topology(tmp_path):
    return load_topology(recorded.write_topology(tmp_path))


def writers(topology, topic):
    name = topology.topics.names[topic]
    return {
        role.name
        for role in ROLES
        for right in rights(topology, role)
        if (right.kind, right.name, right.operation) == ("topic", name, "Write")
    }


def test_every_topic_has_one_kind_of_writer(topology):
    assert writers(topology, "returns") == {"feeder"}
    assert writers(topology, "positions") == {"oms", "paper"}
    assert writers(topology, "control") == {"operator"}
    for topic in ("allocations", "evidence", "regimes", "audit", "dead_letters", "snapshots"):
        assert writers(topology, topic) == {"worker"}


def test_a_transactional_id_may_be_any_of_the_groups_workers(topology):
    (right,) = [r for r in rights(topology, role_named("worker")) if r.kind == "transactional-id"]
    assert (right.name, right.pattern) == (f"{topology.worker.group}-", "prefixed")


def test_commands_name_each_resource_once_with_all_operations(topology):
    lines = commands(topology, role_named("worker"), "User:worker")
    assert len(lines) == 9 + 2
    (audit,) = [line for line in lines if "--topic audit" in line]
    assert audit == (
        "kafka-acls.sh --bootstrap-server localhost:9092 --add --allow-principal User:worker "
        "--operation Read --operation Write --topic audit"
    )
    assert lines[-1].endswith("--transactional-id stream-allocator- --resource-pattern-type prefixed")


def test_the_table_of_the_docs_is_the_one_that_roles_make(root):
    assert table() in (root / "docs" / "operations.md").read_text("utf-8")
