"""What every test broker shares: its version, ports, configuration and errors."""

from __future__ import annotations

import random
import socket
from pathlib import Path

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


def server_properties(client: int, internal: int, controller: int, listen: str = HOST) -> dict[str, str]:
    """Configuration of a one-node broker that suits tests: small, prompt, and strict about topics."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": f"CLIENT://{listen}:{client},BROKER://{HOST}:{internal},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"CLIENT://{HOST}:{client},BROKER://{HOST}:{internal}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
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
