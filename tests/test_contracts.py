"""Schemas mirror their classes, generated files are current, and no change locks the past out."""

import copy
import json
import shutil

import pytest

from stream_allocator.codec import raw_schema
from stream_allocator.contracts import check, incompatibilities, release
from stream_allocator.errors import ConfigurationError

NEW = {"name": "venue", "type": "string"}


@pytest.fixture
def folder(root, tmp_path):
    shutil.copytree(root / "schemas", tmp_path / "schemas")
    return tmp_path / "schemas"


def change(folder, name, edit):
    path = folder / f"{name}.avsc"
    schema = json.loads(path.read_text())
    edit(schema)
    path.write_text(json.dumps(schema))


def test_the_schemas_of_this_tree_are_sound(root):
    assert check(root / "schemas") == []


def test_a_field_with_a_default_is_compatible_and_one_without_is_not():
    old = raw_schema("return_event")
    new = copy.deepcopy(old)
    new["fields"].append(NEW)
    assert incompatibilities(new, old)
    new["fields"][-1] = {**NEW, "default": ""}
    assert incompatibilities(new, old) == []


@pytest.mark.parametrize(
    "edit",
    [
        lambda s: s["fields"][3].update(type="string"),
        lambda s: s["fields"].append(NEW),
        lambda s: s["fields"][5].update(type={"type": "enum", "name": "Mode", "symbols": ["active"]}),
    ],
    ids=["type", "field without default", "fewer symbols"],
)
def test_an_incompatible_change_is_found_and_cannot_be_released(folder, edit):
    change(folder, "control_event", edit)
    assert any("cannot read records written with 0001.avsc" in p for p in check(folder))
    with pytest.raises(ConfigurationError, match=r"0001\.avsc"):
        release(folder)


def test_a_compatible_change_must_be_released(folder):
    change(folder, "return_event", lambda s: s["fields"].append({**NEW, "default": ""}))
    assert any("not released" in p for p in check(folder))
    assert [p.name for p in release(folder)] == ["0002.avsc"]
    assert not any("not released" in p for p in check(folder))
    assert any("events.ReturnEvent has" in p for p in check(folder))  # the class lacks the field still


def test_a_stale_generated_file_is_found(folder):
    (folder / "policy.schema.json").write_text("{}")
    assert any("schemas write" in p for p in check(folder))
