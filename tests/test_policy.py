"""A bad file is an error that names the file, the key, what is wrong and what is allowed."""

import json

import jsonschema
import pytest
import yaml

from stream_allocator.errors import ConfigurationError
from stream_allocator.policy import Policy, load_policy

BUDGETS = {label: {} for label in ("calm", "normal", "stressed", "transition")}


def write(tmp_path, data):
    path = tmp_path / "policy.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    return path


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            {"name": "p", "budgets": BUDGETS, "limits": {"upper": 1.5}},
            ["limits.upper", "less than or equal to 1", "1.5"],
        ),
        ({"name": "p", "budgets": BUDGETS, "limits": {"uper": 0.1}}, ["limits.uper", "not permitted"]),
        ({"name": "p", "budgets": {"calm": {}}}, ["missing: normal, stressed, transition"]),
        ({"name": "p", "budgets": {**BUDGETS, "wild": {}}}, ["budgets.wild", "'calm'"]),
        (
            {"name": "p", "budgets": BUDGETS, "regime": {"calm_enter": 0.9}},
            ["regime", "calm_enter < calm_exit"],
        ),
        ({"name": "p", "budgets": BUDGETS, "regime": {"horizon": 300}}, ["horizon must be below max_run"]),
        (
            {"name": "p", "budgets": BUDGETS, "limits": {"lower": 0.5, "upper": 0.1}},
            ["lower must not be above"],
        ),
        ({"name": "P!", "budgets": BUDGETS}, ["name", "pattern"]),
        ({"budgets": BUDGETS}, ["name", "required"]),
        ("[1, 2]", ["must be a mapping"]),
        ("a: [", ["not YAML"]),
    ],
)
def test_a_bad_policy_names_file_key_and_remedy(tmp_path, data, says):
    path = write(tmp_path, data)
    with pytest.raises(ConfigurationError) as caught:
        load_policy(path)
    for part in [str(path), *says]:
        assert part in str(caught.value)


def test_every_mistake_is_reported_at_once(tmp_path):
    path = write(
        tmp_path, {"name": "p", "budgets": BUDGETS, "costs": {"linear_bps": -1}, "schedule": {"every": 0}}
    )
    with pytest.raises(ConfigurationError) as caught:
        load_policy(path)
    assert len(str(caught.value).splitlines()) == 2


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"absent\.yaml: cannot be read"):
        load_policy(tmp_path / "absent.yaml")


def test_equal_policies_have_equal_digests_whatever_the_order_of_keys(tmp_path):
    one = Policy.model_validate({"name": "p", "budgets": BUDGETS})
    other = Policy.model_validate({"budgets": dict(reversed(BUDGETS.items())), "name": "p"})
    assert one.digest == other.digest
    assert one.digest != one.model_copy(update={"baseline": "equal_risk_contribution"}).digest


def test_the_shipped_policies_satisfy_the_generated_json_schema(root):
    schema = json.loads((root / "schemas" / "policy.schema.json").read_text())
    for path in (root / "topologies" / "policies").glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(path.read_text()), schema)
