"""Topologies are checked, with their policies, before anything runs."""

import json

import jsonschema
import pytest
import yaml

from stream_allocator.errors import ConfigurationError
from stream_allocator.policy import load_policy
from stream_allocator.topology import Security, load_topology

POLICY = {"name": "p", "budgets": {label: {} for label in ("calm", "normal", "stressed", "transition")}}
UNIVERSE = {"name": "u", "assets": ["A", "B"], "groups": {"g": ["A"]}}


def write(tmp_path, universe=(), policies=(POLICY,), **topology):
    for i, policy in enumerate(policies):
        (tmp_path / f"policy{i}.yaml").write_text(yaml.safe_dump(policy))
    portfolios = [{"name": f"f{i}", "policy": f"policy{i}.yaml"} for i in range(len(policies))]
    data = {"name": "t", "universes": [{**UNIVERSE, "portfolios": portfolios, **dict(universe)}], **topology}
    path = tmp_path / "topology.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


ENOUGH = {**POLICY, "limits": {"upper": 0.6}}


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"universe": {"assets": ["A", "A"]}}, "named twice: A"),
        ({"universe": {"groups": {"g": ["Z"]}}}, "group g names assets that the universe lacks: Z"),
        ({"topics": {"audit": "returns"}}, "used twice: returns"),
        ({"topics": {"min_insync_replicas": 4}}, "min_insync_replicas"),
        ({"wire": {"framing": "confluent"}}, "needs a registry, or schema_ids for"),
        ({"policies": [{**POLICY, "limits": {"groups": {"x": {}}}}]}, "limits.groups names x"),
        ({"policies": [{**POLICY, "costs": {"assets": {"Z": {"linear_bps": 1}}}}]}, "costs.assets names Z"),
        ({"policies": [{**POLICY, "limits": {"upper": 0.1, "cash_upper": 0.5}}]}, "add up to 0.2 at most"),
        ({"policies": [ENOUGH, {**ENOUGH, "regime": {"horizon": 5}}]}, "regime differs from portfolio f0"),
        ({"policies": [ENOUGH, {**ENOUGH, "moments": {"factors": 1}}]}, "moments differs from portfolio f0"),
    ],
)
def test_a_bad_topology_says_what_and_where(tmp_path, kwargs, says):
    with pytest.raises(ConfigurationError) as caught:
        load_topology(write(tmp_path, **kwargs))
    assert says in str(caught.value)
    assert "t" in str(caught.value)


def test_a_missing_policy_file_is_named(tmp_path):
    path = write(tmp_path)
    (tmp_path / "policy0.yaml").unlink()
    with pytest.raises(ConfigurationError, match=r"policy0\.yaml"):
        load_topology(path)


def test_the_shipped_topologies_load_and_satisfy_the_generated_json_schema(root):
    schema = json.loads((root / "schemas" / "topology.schema.json").read_text())
    paths = sorted((root / "topologies").glob("*.yaml"))
    assert len(paths) >= 3
    for path in paths:
        jsonschema.validate(yaml.safe_load(path.read_text()), schema)
        assert load_topology(path).policies("us-large-cap")


def test_secrets_come_from_the_environment_only(monkeypatch):
    security = Security(protocol="SASL_SSL", ca_location="/ca.crt")
    monkeypatch.delenv("STREAM_ALLOCATOR_SASL_USERNAME", raising=False)
    with pytest.raises(ConfigurationError, match="STREAM_ALLOCATOR_SASL_USERNAME"):
        security.client_settings()
    monkeypatch.setenv("STREAM_ALLOCATOR_SASL_USERNAME", "worker")
    monkeypatch.setenv("STREAM_ALLOCATOR_SASL_PASSWORD", "hunter2")
    assert security.client_settings() == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "/ca.crt",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "worker",
        "sasl.password": "hunter2",
    }
    assert "hunter2" not in repr(security)


def test_another_broker_or_policy_leaves_the_topology_as_it_was(root):
    topology = load_topology(root / "topologies" / "demo.yaml")
    policy = topology.policies("us-large-cap")["core"]
    other = topology.at("elsewhere:1").with_policy(policy.model_copy(update={"name": "other"}))
    assert other.bootstrap_servers == "elsewhere:1"
    assert other.policies("us-large-cap")["core"].name == "other"
    assert topology.policies("us-large-cap")["core"].name == "us-large-cap"


def test_universes_are_found_by_name_in_a_copy_too(tmp_path):
    topology = load_topology(write(tmp_path))
    (found,) = topology.universes
    assert topology.universe("u") is found
    assert topology.universe("v") is None
    assert topology.policies("v") == {}
    other = topology.model_copy(update={"universes": (found.model_copy(update={"name": "v"}),)})
    assert other.universe("u") is None
    assert other.universe("v") is other.universes[0]
    assert topology.universe("u") is found


def test_a_policy_file_is_read_once_however_many_portfolios_name_it(tmp_path, monkeypatch):
    path = write(tmp_path)
    data = yaml.safe_load(path.read_text())
    data["universes"] = [{**data["universes"][0], "name": f"u{i}"} for i in range(5)]
    path.write_text(yaml.safe_dump(data))
    read = []
    monkeypatch.setattr("stream_allocator.topology.load_policy", lambda p: read.append(p) or load_policy(p))
    topology = load_topology(path)
    assert read == [tmp_path / "policy0.yaml"]
    assert {topology.policies(u.name)["f0"].digest for u in topology.universes} == {load_policy(*read).digest}
