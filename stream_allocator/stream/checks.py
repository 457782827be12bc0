"""What must be true of a broker before a worker, or anyone else, begins: topics, their settings, rights.

Each finding is one line that names the topic, what is there, what is wanted, and the command that mends
it. An error keeps a worker from starting; a warning says what will not work some day; a note says what
this user may not look at.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, TopicDescription

from stream_allocator.errors import BusError
from stream_allocator.stream.clients import admin_client, producer_settings
from stream_allocator.stream.roles import Right, Role, rights, role_named
from stream_allocator.stream.topics import COMPACTED, DAY_MS, partition_counts, topic_settings
from stream_allocator.topology import Topology

__all__ = ["Finding", "check", "require"]

log = logging.getLogger(__name__)

Level: TypeAlias = Literal["error", "warning", "note"]
Configs: TypeAlias = Mapping[str, str]

REQUEST_SECONDS = 15.0
#: Kafka's operations by the names that rights have.
OPERATIONS = {
    AclOperation.READ: "Read",
    AclOperation.WRITE: "Write",
    AclOperation.CREATE: "Create",
    AclOperation.DESCRIBE: "Describe",
    AclOperation.DESCRIBE_CONFIGS: "DescribeConfigs",
}
#: A group's coordinator that has just moved, or is there for the first time.
COORDINATOR_STARTS = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}
#: How librdkafka calls its mock cluster.
EMBEDDED = "mockCluster"
DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line about what does not fit."""

    level: Level
    text: str


def check(topology: Topology, role: str | None = None, *, transact: bool = True) -> list[Finding]:
    """What does not fit, errors first; empty when all does.

    Parameters
    ----------
    topology : Topology
    role : str, optional
        Also whether this user has the rights of that role (:mod:`stream_allocator.stream.roles`); then only
        the topics of the role are looked at, because it may see no others.
    transact : bool
        Whether to try the right to write in transactions, for which there is no question. A worker need
        not: it begins with its own transactional id.

    Raises
    ------
    ConfigurationError
        For a role that does not exist.
    BusError
        When the broker does not answer.
    """
    who = None if role is None else role_named(role)
    with admin_client(topology) as admin:
        if admin.list_topics(timeout=REQUEST_SECONDS).cluster_id.startswith(EMBEDDED):  # it knows no more
            return _embedded(admin, topology)
        findings = list(_findings(admin, topology, who, transact))
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda f: order[f.level])


def require(topology: Topology, role: str) -> None:
    """As :func:`check` before someone begins: errors are raised, and the rest is logged.

    Raises
    ------
    BusError
        Naming every error, one a line.
    """
    findings = check(topology, role, transact=False)
    errors = [f.text for f in findings if f.level == "error"]
    if errors:
        raise BusError("\n".join(errors))
    for finding in findings:
        log.log(logging.WARNING if finding.level == "warning" else logging.INFO, "%s", finding.text)


def _findings(admin: AdminClient, topology: Topology, role: Role | None, transact: bool) -> Iterator[Finding]:
    needed = [] if role is None else rights(topology, role)
    needed = [right for right in needed if transact or right.kind != "transactional-id"]
    names = topology.topics.names
    mine = {right.name for right in needed if right.kind == "topic"}
    looked_at = {topic: name for topic, name in names.items() if role is None or name in mine}
    described, denied, absent = _described(admin, list(looked_at.values()))
    create = "run stream-allocator topics create"
    if role is not None and role.create:  # who creates topics need not find them
        absent = []
    yield from (Finding("error", f"topic {name} does not exist; {create}") for name in absent)
    if role is None and denied:
        listed = ", ".join(denied)
        yield Finding(
            "error", f"topics {listed}: this user may not see them; grant it a role: {_acls('ROLE')}"
        )
    present = {topic: described[name] for topic, name in looked_at.items() if name in described}
    yield from _layout(topology, present)
    yield from _settings(admin, topology, {t: names[t] for t in present})
    if role is not None:
        given = {("topic", name): _operations(description) for name, description in described.items()}
        given |= dict.fromkeys((("topic", name) for name in denied), frozenset())
        yield from _rights(admin, topology, role, needed, given)


# -- topics ----------------------------------------------------------------------------------------


def _described(
    admin: AdminClient, names: list[str]
) -> tuple[dict[str, TopicDescription], list[str], list[str]]:
    """Descriptions of topics, the names that are denied, and those that do not exist."""
    described, denied, absent = {}, [], []
    futures = admin.describe_topics(
        TopicCollection(names), include_authorized_operations=True, request_timeout=REQUEST_SECONDS
    )
    for name, future in futures.items():
        try:
            described[name] = future.result(REQUEST_SECONDS)
        except KafkaException as failure:
            if failure.args[0].code() in DENIED:
                denied.append(name)
            elif failure.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                absent.append(name)
            else:
                raise
    return described, denied, absent


def _layout(topology: Topology, present: Mapping[str, TopicDescription]) -> Iterator[Finding]:
    """Partition counts and replication."""
    names, topics = topology.topics.names, topology.topics
    counts = {names[topic]: len(description.partitions) for topic, description in present.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        yield Finding(
            "error",
            f"topics are not co-partitioned ({listed}); give them all the same partition count: "
            f"kafka-topics.sh --alter --topic NAME --partitions {max(counts.values())}",
        )
    elif counts and (count := next(iter(counts.values()))) != topics.partitions:
        yield Finding(
            "warning",
            f"topics have {count} partitions, topics.partitions says {topics.partitions}; correct it",
        )
    for topic, description in present.items():
        copies = min(len(partition.replicas) for partition in description.partitions)
        if copies < topics.replication_factor:
            yield Finding(
                "error",
                f"topic {names[topic]} has {copies} replicas, topics.replication_factor asks for "
                f"{topics.replication_factor}: a broker that is lost would take records with it; add them: "
                "kafka-reassign-partitions.sh --execute",
            )


def _settings(admin: AdminClient, topology: Topology, names: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the topics' settings keep and take what the worker needs; a note where they are not shown."""
    configs, hidden = _configs(admin, names)
    if hidden:
        yield Finding(
            "note",
            f"settings of {', '.join(hidden)} were not looked at: this user lacks DescribeConfigs; as an "
            "operator run stream-allocator topics check",
        )
    wanted = topic_settings(topology)
    for topic, there in configs.items():
        for level, key, want, why in _misfits(topic, wanted[topic], there):
            alter = f"kafka-configs.sh --alter --topic {names[topic]} --add-config {key}={want}"
            text = f"topic {names[topic]} has {key}={there[key]}, wanted {want}: {why}; set it: {alter}"
            yield Finding(level, text)


def _misfits(topic: str, wanted: Configs, there: Configs) -> Iterator[tuple[Level, str, str, str]]:
    """Level, key, wanted value and reason for each setting that does not do."""
    level: Level
    key = "min.insync.replicas"
    if int(there[key]) < int(wanted[key]):
        yield "error", key, wanted[key], "what is acknowledged could be lost with one broker"
    key = "max.message.bytes"
    if key in wanted and int(there[key]) < int(wanted[key]):
        what = {
            "snapshots": "worker.chunk_bytes does not fit",
            "evidence": "the evidence of the largest universe does not fit",
            "dead_letters": "a letter of worker.chunk_bytes does not fit",
        }[topic]
        yield "error", key, wanted[key], what
    policies = {policy.strip() for policy in there["cleanup.policy"].split(",")}
    if topic == "snapshots":
        if policies == {"compact"}:
            return
        lost = "delete" in policies and _finite(there)
        why = "the last snapshots would be deleted" if lost else "old snapshots stay for ever"
        yield "error" if lost else "warning", "cleanup.policy", COMPACTED["cleanup.policy"], why
        return
    if "compact" in policies:
        why = "the audit chain refers to every record, and compaction takes some away"
        yield "error", "cleanup.policy", wanted["cleanup.policy"], why
    kept, asked = int(there["retention.ms"]), int(wanted["retention.ms"])
    if kept >= 0 and (kept < asked or asked < 0):
        if kept < DAY_MS:
            level, why = "error", "a worker that is down for longer finds its input deleted"
        else:
            level, why = "warning", "replay goes back no further, nor does a restore that finds no snapshot"
        yield level, "retention.ms", wanted["retention.ms"], why
    if int(there["retention.bytes"]) >= 0:
        why = "records go by their size, read or not"
        yield "warning", "retention.bytes", wanted["retention.bytes"], why


def _finite(there: Configs) -> bool:
    return int(there["retention.ms"]) >= 0 or int(there["retention.bytes"]) >= 0


def _configs(admin: AdminClient, names: Mapping[str, str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Topic -> its settings, and the names of topics that do not show theirs to this user."""
    if not names:
        return {}, []
    topics = {name: topic for topic, name in names.items()}
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in topics]
    found, hidden = {}, []
    futures: dict[Any, Future[Any]] = admin.describe_configs(resources, request_timeout=REQUEST_SECONDS)
    for resource, future in futures.items():
        try:
            entries = future.result(REQUEST_SECONDS)
            found[topics[resource.name]] = {key: entry.value for key, entry in entries.items()}
        except KafkaException as failure:
            if failure.args[0].code() not in DENIED:
                raise
            hidden.append(resource.name)
    return found, hidden


# -- rights ----------------------------------------------------------------------------------------


def _rights(
    admin: AdminClient,
    topology: Topology,
    role: Role,
    needed: list[Right],
    given: dict[tuple[str, str], frozenset[str]],
) -> Iterator[Finding]:
    """One error for each resource on which this user lacks something that the role needs."""
    for group in {right.name for right in needed if right.kind == "group"}:
        given["group", group] = _group_operations(admin, group)
    lacking: dict[tuple[str, str], list[str]] = {}
    for right in needed:
        if right.kind == "transactional-id":
            if not _may_transact(topology, right.name):
                lacking[right.kind, f"{right.name}*"] = [right.operation]
        elif (place := (right.kind, right.name)) in given and right.operation not in given[place]:
            lacking.setdefault(place, []).append(right.operation)
    for (kind, name), operations in lacking.items():
        yield Finding(
            "error",
            f"{kind} {name}: this user lacks {' and '.join(operations)}, which role {role.name} needs; "
            f"grant it: {_acls(role.name)}",
        )


def _acls(role: str) -> str:
    return f"stream-allocator acls --role {role} --principal User:NAME --apply"


def _operations(description: Any) -> frozenset[str]:
    """What the broker says this user may do; without an authoriser it names everything."""
    found = {OPERATIONS[o] for o in description.authorized_operations or () if o in OPERATIONS}
    return frozenset(found | ({"Describe"} if found & {"Read", "Write"} else set()))


def _group_operations(admin: AdminClient, group: str) -> frozenset[str]:
    ask: Callable[..., dict[str, Future[Any]]] = admin.describe_consumer_groups
    deadline = time.monotonic() + REQUEST_SECONDS
    while True:
        future = ask([group], include_authorized_operations=True, request_timeout=REQUEST_SECONDS)[group]
        try:
            return _operations(future.result(REQUEST_SECONDS))
        except KafkaException as failure:
            code = failure.args[0].code()
            if code in DENIED:
                return frozenset()
            if code not in COORDINATOR_STARTS or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _may_transact(topology: Topology, prefix: str) -> bool:
    """No request asks for this right, so an id of our own, which fences nobody, is tried."""
    name = f"{prefix}check-{uuid.uuid4().hex[:8]}"
    producer = Producer({**producer_settings(topology, name), "log_level": 2})
    try:
        producer.init_transactions(REQUEST_SECONDS)
    except KafkaException as failure:
        if failure.args[0].code() != KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            raise
        return False
    return True


def _embedded(admin: AdminClient, topology: Topology) -> list[Finding]:
    counts = partition_counts(admin, topology)
    return [
        Finding("error", f"topic {name} does not exist; run stream-allocator topics create")
        for name in topology.topics.names.values()
        if name not in counts
    ]
