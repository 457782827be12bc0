"""Who may do what on the broker: one definition, from which the checks, the command line and the docs derive.

It loads no Kafka. A right to read or write implies the right to describe, as on the broker.
"""

from dataclasses import dataclass
from typing import Literal

from stream_allocator.errors import ConfigurationError
from stream_allocator.stream.record import INPUTS, OUTPUTS, WITNESSES
from stream_allocator.topology import Topology

__all__ = ["ROLES", "Right", "Role", "commands", "rights", "role_named", "table"]

Kind = Literal["topic", "group", "transactional-id"]
Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]
Pattern = Literal["literal", "prefixed"]

#: All topics, inputs first.
EVERY = (*INPUTS, *OUTPUTS.values())
DECISIONS = ("allocations", "evidence")
#: What a replay compares, see :data:`stream_allocator.archive.COMPARED`.
COMPARED = (*DECISIONS, "regimes", "audit")


@dataclass(frozen=True, slots=True)
class Right:
    """One operation on one resource; ``name`` is a prefix where ``pattern`` says so."""

    kind: Kind
    name: str
    operation: Operation
    pattern: Pattern = "literal"


@dataclass(frozen=True, slots=True)
class Role:
    """Who it is, and what it needs.

    Attributes
    ----------
    name, purpose : str
    read, write : tuple of str
        Roles of the topics, as in :attr:`Topics.names`.
    inspect : tuple of str
        Topics whose settings it looks up.
    create : tuple of str
        Topics that it creates.
    groups : tuple of (str, str)
        Suffix to the workers' group, and the operation on that group.
    transactional : bool
        Whether it writes in transactions, whose ids are the group, a dash and the instance.
    """

    name: str
    purpose: str
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    inspect: tuple[str, ...] = ()
    create: tuple[str, ...] = ()
    groups: tuple[tuple[str, Operation], ...] = ()
    transactional: bool = False


ROLES: tuple[Role, ...] = (
    Role("feeder", "publishes returns: `feed`", write=("returns",)),
    Role(
        "oms",
        "executes allocations and reports positions; its consumers join `<group>-oms`",
        read=("allocations",),
        write=("positions",),
        groups=(("-oms", "Read"),),
    ),
    Role(
        "paper",
        "the paper execution: `execute`",
        read=("returns", "allocations", "positions"),
        write=("positions",),
    ),
    Role(
        "worker",
        "`run`",
        read=(*INPUTS, *WITNESSES, "snapshots"),
        write=tuple(OUTPUTS.values()),
        groups=(("", "Read"),),
        transactional=True,
    ),
    Role(
        "operator",
        "`control`, `topics check`, `explain`, `verify`; looks at every output and at the group",
        read=(*COMPARED, "dead_letters"),
        write=("control",),
        inspect=EVERY,
        groups=(("", "Describe"),),
    ),
    Role(
        "reader",
        "`replay`, `record` and `dead-letters` as well",
        read=(*INPUTS, *COMPARED, "dead_letters"),
        groups=(("", "Describe"),),
    ),
    Role("verifier", "`explain` and `verify`, no more", read=DECISIONS),
    Role("provisioner", "`topics create`", create=EVERY, inspect=EVERY),
)


def role_named(name: str) -> Role:
    """The role of that name.

    Raises
    ------
    ConfigurationError
        For a name that is none.
    """
    for role in ROLES:
        if role.name == name:
            return role
    raise ConfigurationError(f"role {name} is not one of {', '.join(r.name for r in ROLES)}")


def rights(topology: Topology, role: Role) -> list[Right]:
    """What a role needs on the topics and groups of a topology, and no more."""
    names, group = topology.topics.names, topology.worker.group
    needed = [Right("topic", names[topic], "Read") for topic in role.read]
    needed += [Right("topic", names[topic], "Write") for topic in role.write]
    needed += [Right("topic", names[topic], "Create") for topic in role.create]
    for topic in role.inspect:
        if topic not in (*role.read, *role.write):
            needed.append(Right("topic", names[topic], "Describe"))
        needed.append(Right("topic", names[topic], "DescribeConfigs"))
    needed += [Right("group", group + suffix, operation) for suffix, operation in role.groups]
    if role.transactional:
        needed.append(Right("transactional-id", f"{group}-", "Write", "prefixed"))
    return needed


def commands(topology: Topology, role: Role, principal: str) -> list[str]:
    """The ``kafka-acls.sh`` commands that give a principal a role, one for each resource."""
    operations: dict[tuple[Kind, str, Pattern], list[Operation]] = {}
    for right in rights(topology, role):
        operations.setdefault((right.kind, right.name, right.pattern), []).append(right.operation)
    start = (
        f"kafka-acls.sh --bootstrap-server {topology.bootstrap_servers} --add --allow-principal {principal}"
    )
    return [
        " ".join(
            [
                start,
                *(f"--operation {operation}" for operation in chosen),
                f"--{kind} {name}",
                *([f"--resource-pattern-type {pattern}"] if pattern != "literal" else []),
            ]
        )
        for (kind, name, pattern), chosen in operations.items()
    ]


def table() -> str:
    """The roles as the Markdown table of docs/operations.md, for topics and a group of the default names."""

    def listed(topics: tuple[str, ...]) -> str:
        if topics == EVERY:
            return "all"
        return ", ".join(f"`{topic.replace('_', '-')}`" for topic in topics) or "–"

    lines = ["| Role | For | Read | Write | Other rights |", "|---|---|---|---|---|"]
    for role in ROLES:
        other = [f"{operation} on group `<group>{suffix}`" for suffix, operation in role.groups]
        if role.transactional:
            other.append("Write on transactional ids that begin with `<group>-`")
        if role.create:
            other.append(f"Create on topics: {listed(role.create)}")
        if role.inspect:
            other.append(f"Describe and DescribeConfigs on topics: {listed(role.inspect)}")
        cells = [role.name, role.purpose, listed(role.read), listed(role.write), "; ".join(other) or "–"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
