"""Keeps ``schemas/`` honest: generated JSON Schemas, Avro schemas against their classes and their past.

A schema's published versions stand in ``schemas/history/<name>/NNNN.avsc``. The current one must be able
to read them all, and must itself be the newest of them: changing a schema means releasing it
(``stream-allocator schemas release``), and only a backward-compatible change can be released.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse
from fastavro.schema import fingerprint, to_parsing_canonical_form
from pydantic import BaseModel

from stream_allocator.codec import SCHEMA_NAMES
from stream_allocator.errors import ConfigurationError
from stream_allocator.policy import Policy
from stream_allocator.topology import Topology

__all__ = ["GENERATED", "check", "generate", "incompatibilities", "release"]

#: File name -> the model whose JSON Schema it holds.
GENERATED: dict[str, type[BaseModel]] = {
    "policy.schema.json": Policy,
    "topology.schema.json": Topology,
}


def generate(model: type[BaseModel]) -> str:
    """A model's JSON Schema as the text of its file."""
    return json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def canonical_fingerprint(schema: Any) -> str:
    """CRC-64-AVRO of the parsing canonical form: equal for schemas that differ in docs only."""
    return str(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def incompatibilities(reader: Any, writer: Any) -> list[str]:
    """Why ``reader`` cannot read what ``writer`` wrote; empty when it can."""
    verdict = ReaderWriterCompatibilityChecker().get_compatibility(
        parse(json.dumps(reader)), parse(json.dumps(writer))
    )
    if verdict.compatibility is SchemaCompatibilityType.compatible:
        return []
    return sorted(verdict.messages) or ["not readable"]


def versions(folder: Path, name: str) -> list[Path]:
    """Published versions of a schema, oldest first."""
    return sorted((folder / "history" / name).glob("*.avsc"))


def check(folder: Path) -> list[str]:
    """Everything that is wrong with the schemas in ``folder``; empty when all is well."""
    problems = []
    for file, model in GENERATED.items():
        path = folder / file
        if not path.is_file() or path.read_text("utf-8") != generate(model):
            problems.append(
                f"{path}: not what {model.__name__} generates; run stream-allocator schemas write"
            )
    for cls, name in SCHEMA_NAMES.items():
        path = folder / f"{name}.avsc"
        schema = _read(path)
        fields = [f["name"] for f in schema["fields"]]
        mirrored = [f.name for f in dataclasses.fields(cls)]
        if fields != mirrored:
            problems.append(f"{path}: fields {fields}, but events.{cls.__name__} has {mirrored}")
        past = versions(folder, name)
        for old in past:
            problems += [
                f"{path}: cannot read records written with {old.name}: {why}; give new fields a default"
                for why in incompatibilities(schema, _read(old))
            ]
        if not past or canonical_fingerprint(_read(past[-1])) != canonical_fingerprint(schema):
            problems.append(f"{path}: changed, but not released; run stream-allocator schemas release")
    return problems


def release(folder: Path) -> list[Path]:
    """Publish every changed schema as its next version.

    Raises
    ------
    ConfigurationError
        When a change would leave records that are already written unreadable.
    """
    written = []
    for name in SCHEMA_NAMES.values():
        path = folder / f"{name}.avsc"
        schema, past = _read(path), versions(folder, name)
        if past and canonical_fingerprint(_read(past[-1])) == canonical_fingerprint(schema):
            continue
        for old in past:
            for why in incompatibilities(schema, _read(old)):
                raise ConfigurationError(f"{path}: cannot read records written with {old.name}: {why}")
        target = folder / "history" / name / f"{len(past) + 1:04d}.avsc"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text("utf-8"), "utf-8")
        written.append(target)
    return written


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: cannot be read as JSON: {error}") from error
