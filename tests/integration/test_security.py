"""TLS, SASL and ACLs on real Kafka: the worker runs with exactly the rights that docs/operations.md names."""

import json
import shutil
import subprocess
import sys

import pytest
import worlds
from absence import skip_unless_ci
from cluster import Feeder, Outputs, WorkerProcess, local_kafka, make_topology
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from stream_allocator.archive import DECISIONS, read_topics
from stream_allocator.errors import BusError
from stream_allocator.stream.checks import check
from stream_allocator.stream.clients import producer_settings
from stream_allocator.stream.control import publish_control

pytestmark = pytest.mark.kafka

PASSWORDS = {
    "admin": "adm1n-s3cret",
    "worker": "w0rker-s3cret",
    "auditor": "aud1t-s3cret",
    "desk": "d3sk-s3cret",
}
READ = ("returns", "positions", "control", "audit", "snapshots")
WRITE = ("allocations", "evidence", "regimes", "audit", "dead_letters", "snapshots")


def certificates(folder):
    """A self-signed certificate for the loopback address; the broker's key store and the clients' CA."""
    key, certificate = folder / "key.pem", folder / "ca.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "keystore.pem").write_text(key.read_text() + certificate.read_text())
    return folder / "keystore.pem", certificate


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    if shutil.which("openssl") is None:
        skip_unless_ci("no openssl to make a certificate with")
    keystore, ca = certificates(folder)
    users = " ".join(f'user_{name}="{password}"' for name, password in PASSWORDS.items())
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    settings = {
        "listener.security.protocol.map": "CLIENT:SASL_SSL,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.client.plain.sasl.jaas.config": f"{login} {users};",
        "listener.name.client.ssl.keystore.type": "PEM",
        "listener.name.client.ssl.keystore.location": str(keystore),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:admin;User:ANONYMOUS",  # ANONYMOUS: the broker itself, on its own listener
    }
    with local_kafka(settings) as broker:
        yield broker.bootstrap_servers, ca


def act_as(monkeypatch, user, password=None):
    monkeypatch.setenv("STREAM_ALLOCATOR_SASL_USERNAME", user)
    monkeypatch.setenv("STREAM_ALLOCATOR_SASL_PASSWORD", password or PASSWORDS[user])


@pytest.fixture
def world(secured, tmp_path, monkeypatch):
    """A topology whose topics exist and whose worker has the documented rights; we act as admin."""
    bootstrap, ca = secured
    act_as(monkeypatch, "admin")
    security = {"protocol": "SASL_SSL", "mechanism": "PLAIN", "ca_location": str(ca)}
    path, topology = make_topology(tmp_path, bootstrap, security=security)
    names = topology.topics.names
    rights = [(ResourceType.TOPIC, names[role], AclOperation.READ) for role in READ]
    rights += [(ResourceType.TOPIC, names[role], AclOperation.WRITE) for role in WRITE]
    rights.append((ResourceType.GROUP, topology.worker.group, AclOperation.READ))
    rights.append((ResourceType.TRANSACTIONAL_ID, f"{topology.worker.group}-worker-0", AclOperation.WRITE))
    rights = [("worker", *right) for right in rights]
    rights += [("auditor", ResourceType.TOPIC, names[role], AclOperation.READ) for role in DECISIONS]
    acls = [
        AclBinding(
            kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW
        )
        for user, kind, name, operation in rights
    ]
    admin = AdminClient({k: v for k, v in producer_settings(topology).items() if k.startswith(("boot", "s"))})
    for future in admin.create_acls(acls).values():
        future.result(10)
    return path, topology


def test_the_worker_runs_over_tls_with_the_documented_rights_and_logs_no_secret(world, monkeypatch):
    path, topology = world
    feeder, regimes = Feeder(topology), Outputs(topology, "regimes")
    act_as(monkeypatch, "worker")
    with WorkerProcess(path) as worker:
        feeder.send([worlds.tick(i, x) for i, x in enumerate(worlds.returns(60))])
        regimes.until(60, worker)
        assert worker.stop() == 0
    with WorkerProcess(path) as worker:  # restore needs its rights too
        feeder.send([worlds.tick(60, [0.0, 0.01, 0.0, 0.0])])
        regimes.until(61, worker)
        assert worker.stop() == 0
        assert not any(password in worker.text() for password in PASSWORDS.values())


def test_an_auditor_with_the_right_to_read_two_topics_proves_every_decision(world, monkeypatch):
    path, topology = world
    feeder, regimes = Feeder(topology), Outputs(topology, "regimes")
    with monkeypatch.context() as patch:
        act_as(patch, "worker")
        with WorkerProcess(path) as worker:
            feeder.send([worlds.tick(i, x) for i, x in enumerate(worlds.returns(60))])
            regimes.until(60, worker)
            assert worker.stop() == 0
    act_as(monkeypatch, "auditor")
    command = [sys.executable, "-m", "stream_allocator.cli", "verify", "--topology", str(path), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert len(told["decisions"]) >= 4
    with pytest.raises(BusError):  # what replay needs, it may not read
        read_topics(topology)


def test_control_needs_a_right_of_its_own(world, monkeypatch):
    _, topology = world
    arguments = (topology, "u", "core", "halted", "mallory", "because")
    act_as(monkeypatch, "worker")
    with pytest.raises(BusError, match=r"control.*authoriz"):
        publish_control(*arguments)
    act_as(monkeypatch, "admin")
    publish_control(*arguments)


def test_a_wrong_password_is_a_clear_error_without_the_password(world, monkeypatch):
    _, topology = world
    act_as(monkeypatch, "worker", "wrong-passw0rd")
    with pytest.raises(BusError) as caught:
        check(topology)
    assert "wrong-passw0rd" not in str(caught.value)


def test_a_user_without_rights_sees_no_topics(world, monkeypatch):
    _, topology = world
    act_as(monkeypatch, "desk")
    (finding,) = check(topology)
    assert all(name in finding.text for name in topology.topics.names.values())
    assert "this user may not see them" in finding.text
