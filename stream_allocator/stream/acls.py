"""Rights of a role as ACLs on the broker."""

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from stream_allocator.errors import BusError, ConfigurationError
from stream_allocator.stream.clients import admin_client
from stream_allocator.stream.roles import Right, Role, rights
from stream_allocator.topology import Topology

__all__ = ["grant"]

REQUEST_SECONDS = 15.0
KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
PATTERNS = {"literal": ResourcePatternType.LITERAL, "prefixed": ResourcePatternType.PREFIXED}


def grant(topology: Topology, role: Role, principal: str) -> int:
    """Give a principal a role on the topology's broker; the number of ACLs. Those that exist stay.

    Raises
    ------
    ConfigurationError
        For a principal that is not written as the broker names it.
    BusError
        When the broker refuses or does not answer.
    """
    if not principal.partition(":")[2] or principal == "User:NAME":
        raise ConfigurationError(f"principal {principal}: name who gets the role, such as User:worker")
    needed = rights(topology, role)
    with admin_client(topology) as admin:
        futures = admin.create_acls(
            [_binding(right, principal) for right in needed], request_timeout=REQUEST_SECONDS
        )
        for future in futures.values():
            try:
                future.result(REQUEST_SECONDS)
            except KafkaException as error:
                raise BusError(f"ACLs could not be created: {error.args[0].str()}") from error
    return len(needed)


def _binding(right: Right, principal: str) -> AclBinding:
    return AclBinding(
        KINDS[right.kind],
        right.name,
        PATTERNS[right.pattern],
        principal,
        "*",
        OPERATIONS[right.operation],
        AclPermissionType.ALLOW,
    )
