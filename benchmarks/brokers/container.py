"""Apache Kafka in a container, from the official image or one built here."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import Self

# No reaper image: it could not be pulled everywhere. `remove_orphans` does its work by label.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from testcontainers.core.container import DockerContainer

from benchmarks.brokers.node import (
    CLUSTER_ID,
    HOST,
    RECIPE,
    STARTED,
    VERSION,
    BrokerDied,
    BrokerUnavailable,
    Ports,
    server_properties,
)

OFFICIAL_IMAGE = f"apache/kafka:{VERSION}"
LOCAL_IMAGE = f"{OFFICIAL_IMAGE}-local"
OWNER_LABEL = "stream-allocator.test-broker.owner"


class ContainerKafka(DockerContainer):
    """One Apache Kafka broker in a container of `apache/kafka`, or of an image with its layout.

    On Linux it shares the host's network, so that all traffic stays on the loopback interface and the
    engine needs neither bridge nor packet filter; elsewhere one port is published, on loopback alone.
    """

    def __init__(self, image: str) -> None:
        super().__init__(image)
        ports = Ports.free()
        self.bootstrap_servers = f"{HOST}:{ports.client}"
        shared = sys.platform == "linux"
        properties = server_properties(ports, listen=HOST if shared else "0.0.0.0")
        self.with_envs(
            **{f"KAFKA_{key.replace('.', '_').upper()}": value for key, value in properties.items()},
            KAFKA_HEAP_OPTS="-Xms256m -Xmx512m",
            CLUSTER_ID=CLUSTER_ID,
        )
        placement: dict[str, object] = {"labels": {OWNER_LABEL: str(os.getpid())}}
        if shared:
            placement["network_mode"] = "host"
        else:
            placement["ports"] = {f"{ports.client}/tcp": (HOST, ports.client)}
        self.with_kwargs(**placement)

    def start(self, timeout: float = 60.0) -> Self:
        """Start it and wait until it serves clients, or raise `BrokerDied`."""
        super().start()
        container, deadline = self.get_wrapped_container(), time.monotonic() + timeout
        while STARTED.encode() not in (log := container.logs()):
            container.reload()
            if container.status == "exited" or time.monotonic() > deadline:
                words = "\n".join(log.decode(errors="replace").splitlines()[-15:])
                raise BrokerDied(f"the container of {self.image} did not start in {timeout:.0f} s\n{words}")
            time.sleep(0.1)
        return self


def docker_answers() -> bool:
    """Whether a Docker engine answers here."""
    try:
        client = docker.from_env(timeout=5)
    except DockerException:
        return False
    with contextlib.closing(client):
        try:
            return bool(client.ping())
        except (DockerException, OSError):
            return False


def kafka_image() -> str:
    """Name of an image of the broker: `KAFKA_IMAGE`, one that is here, the official one, or one built here.

    Raises
    ------
    BrokerUnavailable
        When it can be neither pulled nor built.
    """
    if image := os.environ.get("KAFKA_IMAGE"):
        return image
    with contextlib.closing(docker.from_env(timeout=15)) as client:
        for image in (OFFICIAL_IMAGE, LOCAL_IMAGE):
            with contextlib.suppress(ImageNotFound):
                client.images.get(image)
                return image
        if _pull(client, OFFICIAL_IMAGE):
            return OFFICIAL_IMAGE
    build = [str(RECIPE / "build.sh"), LOCAL_IMAGE]
    done = subprocess.run(build, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise BrokerUnavailable(
            f"{OFFICIAL_IMAGE} can be neither pulled nor built: {done.stderr.strip()[-500:]}"
        )
    return LOCAL_IMAGE


def _pull(client: docker.DockerClient, image: str, patience: float = 15.0, limit: float = 300.0) -> bool:
    """Pull an image; give up when no byte of it came in `patience` seconds, or the whole not in `limit`."""
    start, flowing = time.monotonic(), False
    try:
        for step in client.api.pull(*image.split(":"), stream=True, decode=True):
            flowing = flowing or step.get("status") == "Downloading"
            if "error" in step or time.monotonic() - start > (limit if flowing else patience):
                return False
        client.images.get(image)
    except (APIError, OSError):  # OSError: what a read that hears nothing for the client's timeout raises
        return False
    return True


def remove_orphans() -> None:
    """Remove test brokers whose owner ended, killed perhaps, without removing them."""
    with contextlib.closing(docker.from_env(timeout=30)) as client:
        for container in client.containers.list(all=True, filters={"label": OWNER_LABEL}):
            try:
                os.kill(int(container.labels[OWNER_LABEL]), 0)  # signal 0 only asks whether it is there
            except ProcessLookupError:
                with contextlib.suppress(NotFound, APIError):
                    container.remove(force=True, v=True)
            except PermissionError:
                continue  # another user's, and alive
