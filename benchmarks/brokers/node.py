"""What every test broker shares: its version, ports, configuration and errors."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

VERSION = "4.1.0"
RECIPE = Path(__file__).with_name("recipe")
HOST = "127.0.0.1"  # never 'localhost', which may mean ::1, where nobody listens
STARTED = "Kafka Server started"
CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"


class BrokerUnavailable(RuntimeError):
    """No real broker can be had here; the message says what is missing."""


class BrokerDied(RuntimeError):
    """A broker that should be there ended, or does not answer in time; the message has its last words."""


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, outside the range that outgoing connections draw theirs from.

    Within that range a client that keeps knocking at a broker killed a moment ago can be handed the
    broker's own port and connect to itself, and the broker then cannot come back.
    """
    try:
        ceiling = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        ceiling = 49152
    draw = random.SystemRandom()
    found: list[int] = []
    while len(found) < count:
        port = draw.randrange(max(1024, ceiling - 12000), ceiling)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a node listens.

    Attributes
    ----------
    client, internal, controller : int
        For clients, for other brokers (and for who must not be disturbed), and for controllers.
    advertised : int
        Where clients are told that the broker is; another than `client` where a proxy stands before it.
    """

    client: int
    internal: int
    controller: int
    advertised: int

    @classmethod
    def free(cls) -> Self:
        client, internal, controller = free_ports(3)
        return cls(client, internal, controller, client)


def server_properties(
    ports: Ports, *, node: int = 1, voters: Mapping[int, int] | None = None, listen: str = HOST
) -> dict[str, str]:
    """Configuration of a broker and controller that suits tests: small, prompt, and strict about topics.

    Parameters
    ----------
    ports : Ports
    node : int
        Its number.
    voters : mapping of int to int, optional
        Node -> controller port of the whole cluster; by default it is alone. Three nodes or more keep
        three copies of everything, and two must be in sync.
    listen : str
        Address on which clients are awaited.
    """
    voters = voters or {node: ports.controller}
    copies, in_sync = (3, 2) if len(voters) >= 3 else (1, 1)
    return {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": ",".join(f"{each}@{HOST}:{port}" for each, port in voters.items()),
        "listeners": f"CLIENT://{listen}:{ports.client},BROKER://{HOST}:{ports.internal},"
        f"CONTROLLER://{HOST}:{ports.controller}",
        "advertised.listeners": f"CLIENT://{HOST}:{ports.advertised},BROKER://{HOST}:{ports.internal}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "auto.create.topics.enable": "false",
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(in_sync),
        "offsets.topic.num.partitions": str(copies),
        "offsets.topic.replication.factor": str(copies),
        "transaction.state.log.num.partitions": str(copies),
        "transaction.state.log.replication.factor": str(copies),
        "transaction.state.log.min.isr": str(in_sync),
        "share.coordinator.state.topic.replication.factor": str(copies),
        "share.coordinator.state.topic.min.isr": str(in_sync),
        # a broker that was killed may register again only when its last session has run out (9 s by default)
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        # a crashed member and its open transaction are noticed in seconds, when the client asks for that
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.min.heartbeat.interval.ms": "200",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    }
