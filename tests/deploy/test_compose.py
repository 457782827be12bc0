"""docker-compose.yml and the Dockerfile: the whole stream on one machine, with the least rights that do."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream_allocator.topology import load_topology

ROOT = Path(__file__).resolve().parents[2]
OURS = ("topics", "worker", "feeder", "execution")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_compose_accepts_the_file(compose_program: str) -> None:
    command = [compose_program, "-f", "docker-compose.yml", "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_service_gives_up_the_rights_it_can(services: dict[str, Any]) -> None:
    assert sorted(services) == sorted((*OURS, "kafka"))
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["pids_limit"] > 0, name
        assert service["mem_limit"], name
        assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "user"} & set(
            service
        ), name
    for name in OURS:
        assert services[name]["read_only"] is True
        assert all(volume.endswith(":ro") for volume in services[name]["volumes"])


def test_only_this_machine_reaches_the_broker(services: dict[str, Any]) -> None:
    assert [p for s in services.values() for p in s.get("ports", [])] == ["127.0.0.1:29092:29092"]
    networks = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["networks"]
    assert networks["stream"]["internal"] is True
    assert all(services[name]["networks"] == ["stream"] for name in OURS)


def test_the_services_start_in_the_order_of_the_stream(services: dict[str, Any]) -> None:
    waits = {name: services[name]["depends_on"] for name in OURS}
    assert waits["topics"] == {"kafka": {"condition": "service_healthy"}}
    assert (
        waits["worker"] == waits["execution"] == {"topics": {"condition": "service_completed_successfully"}}
    )
    assert waits["feeder"] == {"worker": {"condition": "service_healthy"}}


def test_the_commands_are_ones_that_the_service_has(
    services: dict[str, Any], dockerfile: list[str], is_a_command: Callable[[list[str]], bool]
) -> None:
    for name in OURS:
        assert is_a_command(services[name]["command"])
    (check,) = [line for line in dockerfile if line.startswith("HEALTHCHECK")]
    program, *arguments = re.findall(r'"([^"]*)"', check)
    assert program == "stream-allocator"
    assert is_a_command(arguments)


def test_the_topology_that_compose_runs_meets_the_broker_that_compose_starts(
    services: dict[str, Any],
) -> None:
    paths = {c[c.index("--topology") + 1] for c in (services[name]["command"] for name in OURS)}
    assert paths == {"topologies/compose.yaml"}
    topology = load_topology(ROOT / paths.pop())
    assert (
        f"INTERNAL://{topology.bootstrap_servers}"
        in services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    )
    assert topology.topics.replication_factor == 1  # there is one broker


def test_images_are_pinned_and_no_registry_is_named(services: dict[str, Any], dockerfile: list[str]) -> None:
    bases = [line.split("=")[1] for line in dockerfile if line.startswith("ARG PYTHON_IMAGE")]
    images = [re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", s["image"]) for s in services.values()]
    for image in {*images, *bases}:
        name, _, tag = image.partition(":")
        assert tag
        assert tag != "latest"
        assert "." not in name.split("/")[0]


def test_the_image_runs_as_nobody_and_installs_by_hash(dockerfile: list[str]) -> None:
    users = [line.split()[1] for line in dockerfile if line.startswith("USER")]
    assert users
    assert int(users[-1].split(":")[0]) > 0  # a number: Kubernetes can tell that it is not root
    assert any("--require-hashes" in line and "runtime.txt" in line for line in dockerfile)
    assert any(line.startswith("ENTRYPOINT") and '"stream-allocator"' in line for line in dockerfile)
