"""The Helm chart renders what Kubernetes accepts, what the worker can read, and nothing with more rights."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from stream_allocator.topology import Security, load_topology

Helm = Callable[..., subprocess.CompletedProcess[str]]
Objects = list[dict[str, Any]]
SECURE = Path(__file__).resolve().parents[2] / "helm" / "stream-allocator" / "ci" / "secure-values.yaml"


def render(helm: Helm, *arguments: str) -> Objects:
    done = helm(*arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="module", params=["defaults", "everything on"])
def objects(helm: Helm, request: pytest.FixtureRequest) -> Objects:
    return render(helm) if request.param == "defaults" else render(helm, "-f", str(SECURE))


@pytest.fixture(scope="module")
def secure(helm: Helm) -> Objects:
    return render(helm, "-f", str(SECURE))


def only(objects: Objects, kind: str) -> dict[str, Any]:
    (found,) = [o for o in objects if o["kind"] == kind and not o["metadata"]["name"].endswith("-topics")]
    return found


def pods(objects: Objects) -> list[dict[str, Any]]:
    return [o["spec"]["template"] for o in objects if o["kind"] in ("StatefulSet", "Job")]


def worker(objects: Objects) -> dict[str, Any]:
    (container,) = only(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    return container


def environment(container: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


@pytest.mark.parametrize("version", ["1.27", "1.37"])
def test_kubernetes_accepts_every_object(objects: Objects, version: str) -> None:
    for document in objects:
        kubernetes_validate.validate(document, version, strict=True)


def test_the_worker_can_read_the_files_that_the_pod_mounts(objects: Objects, tmp_path: Path) -> None:
    data = only(objects, "ConfigMap")["data"]
    spec = only(objects, "StatefulSet")["spec"]["template"]["spec"]
    (volume,) = [v for v in spec["volumes"] if v["name"] == "configuration"]
    for item in volume["configMap"]["items"]:
        place = tmp_path / item["path"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(data[item["key"]])
    topology = load_topology(tmp_path / "topology.yaml")
    assert {u.name for u in topology.universes} == {"us-large-cap"}
    assert topology.policies("us-large-cap")["core"].name == "default"


def test_the_commands_and_the_probes_are_ones_that_the_service_has(
    objects: Objects, is_a_command: Callable[[list[str]], bool]
) -> None:
    for pod in pods(objects):
        for container in pod["spec"]["containers"]:
            assert is_a_command(container["args"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        program, *arguments = worker(objects)[probe]["exec"]["command"]
        assert program == "stream-allocator"
        assert is_a_command(arguments)


def test_every_container_has_the_least_rights(objects: Objects) -> None:
    for pod in pods(objects):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for container in spec["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["privileged"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]
    assert only(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    assert not [
        o for o in objects if o["kind"] in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    ]


def test_each_worker_is_the_static_group_member_of_its_pod(objects: Objects) -> None:
    names = environment(worker(objects))
    assert names["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert names["STREAM_ALLOCATOR_INSTANCE_ID"] == "$(POD_NAME)"
    assert list(names).index("POD_NAME") < list(names).index(
        "STREAM_ALLOCATOR_INSTANCE_ID"
    )  # else not expanded
    assert "volumeClaimTemplates" not in only(objects, "StatefulSet")["spec"]  # state lives in Kafka


def test_what_the_worker_writes_has_a_writable_place(objects: Objects) -> None:
    mounts = {m["mountPath"]: m for m in worker(objects)["volumeMounts"]}
    heartbeat = Path(environment(worker(objects))["STREAM_ALLOCATOR_HEARTBEAT"])
    assert not mounts[str(heartbeat.parent)].get("readOnly", False)
    assert all(m["readOnly"] for path, m in mounts.items() if path != str(heartbeat.parent))


def test_selectors_meet_the_pods_they_are_for(secure: Objects) -> None:
    statefulset = only(secure, "StatefulSet")
    labels = statefulset["spec"]["template"]["metadata"]["labels"].items()
    for selector in (
        statefulset["spec"]["selector"]["matchLabels"],
        only(secure, "Service")["spec"]["selector"],
        only(secure, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only(secure, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels
        for job in (o for o in secure if o["kind"] == "Job"):  # a Job's pod is not one of the workers
            assert not selector.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert statefulset["spec"]["serviceName"] == only(secure, "Service")["metadata"]["name"]


def test_credentials_come_by_reference_under_the_names_that_the_service_reads(secure: Objects) -> None:
    names, security = environment(worker(secure)), Security()
    for variable, key in ((security.username_env, "username"), (security.password_env, "password")):
        assert names[variable] == {"secretKeyRef": {"name": "kafka-user", "key": key}}
    assert names[security.key_password_env] == {"secretKeyRef": {"name": "kafka-tls", "key": "key-password"}}
    assert not [o for o in secure if o["kind"] == "Secret"]
    mounts = {m["name"]: m["mountPath"] for m in worker(secure)["volumeMounts"]}
    assert mounts["tls"] == "/etc/stream-allocator/tls"


def test_traces_go_to_the_collector_only_when_one_is_named(helm: Helm, secure: Objects) -> None:
    assert environment(worker(secure))["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.observability:4318"
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in environment(worker(render(helm)))


def test_a_network_policy_lets_nothing_in_and_out_only_what_is_needed(secure: Objects) -> None:
    spec = only(secure, "NetworkPolicy")["spec"]
    assert sorted(spec["policyTypes"]) == ["Egress", "Ingress"]
    assert spec["ingress"] == []
    assert sorted(p["port"] for rule in spec["egress"] for p in rule["ports"]) == [53, 53, 4318, 9093]


def test_a_changed_policy_restarts_the_workers(helm: Helm) -> None:
    def checksum(*arguments: str) -> str:
        template = only(render(helm, *arguments), "StatefulSet")["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/configuration"]

    assert checksum() == checksum("--set", "replicas=5")
    assert checksum() != checksum("--set", "policies.default.limits.upper=0.25")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--set", "topology.security.protocol=SASL_SSL"], "sasl.existingSecret"),
        (["--set", "topology.security.protocol=TLS"], "/topology/security/protocol"),
        (["--set", "topology.universes[0].portfolios[0].policy=policies/missing.yaml"], "missing"),
        (["--set", "replica=3"], "replica"),
        (["--set", "image.digest=latest"], "/image/digest"),
        (["--set", "otlp.endpoint=collector:4318"], "/otlp/endpoint"),
    ],
)
def test_a_mistake_in_the_values_is_told_before_anything_is_installed(
    helm: Helm, arguments: list[str], complaint: str
) -> None:
    # --set of one list entry replaces the list: give the rest of the universe again
    if "portfolios" in arguments[1]:
        universe = "topology.universes[0]"
        arguments = [*arguments, "--set", f"{universe}.name=u,{universe}.assets={{A}}"]
        arguments += ["--set", f"{universe}.portfolios[0].name=core"]
    done = helm(*arguments)
    assert done.returncode != 0
    assert complaint in done.stderr
