"""A schema registry: ids for Confluent framing, and the schemas of writers that this release does not know.

The ids of the shipped schemas are asked for once, at start. Another id on the wire is looked up when it is
met, checked to be readable with the schema of this release, and remembered: so older and newer writers are
read alike. A registry that does not answer then ends the session, not the record: what becomes of a record
must not depend on the hour.
"""

import json
from typing import Any

from stream_allocator.codec import OPTIONAL_SCHEMAS, SCHEMA_NAMES, raw_schema, writer_schema
from stream_allocator.contracts import incompatibilities
from stream_allocator.errors import BrokerAway, BusError, CodecError, ConfigurationError
from stream_allocator.stream.record import INPUTS, OUTPUTS
from stream_allocator.topology import Topology

__all__ = ["RegistryIds", "connected", "register", "subjects"]

NOT_FOUND = 404


class RegistryIds(dict[str, int]):
    """Schema name -> id, for :class:`stream_allocator.codec.Codec`, which asks :meth:`writer_of` for others.

    Parameters
    ----------
    client : SchemaRegistryClient
    url : str
        For messages.
    ids : dict of str to int
    """

    def __init__(self, client: Any, url: str, ids: dict[str, int]) -> None:
        super().__init__(ids)
        self._client = client
        self._url = url
        self._met: dict[int, tuple[str, Any]] = {}

    def writer_of(self, number: int) -> tuple[str, Any]:
        """Name and parsed schema of an id.

        Raises
        ------
        CodecError
            ``unknown_schema`` when the registry has no such id, or a schema that this release cannot read.
        BrokerAway
            When the registry does not answer.
        """
        if number not in self._met:
            raw = self._fetched(number)
            name = _FULL_NAMES.get(_full_name(raw))
            if name is None:
                what = _full_name(raw) or "no record"
                raise CodecError("unknown_schema", f"schema id {number} is {what}, none of this release's")
            problems = incompatibilities(raw_schema(name), raw)
            if problems:
                raise CodecError(
                    "unknown_schema", f"schema id {number} cannot be read as {name}: {'; '.join(problems)}"
                )
            self._met[number] = name, writer_schema(raw)
        return self._met[number]

    def _fetched(self, number: int) -> Any:
        try:
            text = self._client.get_schema(number).schema_str
            return json.loads(text)
        except ValueError as error:
            raise CodecError("unknown_schema", f"schema id {number} is no Avro schema: {error}") from error
        except Exception as error:  # the HTTP library's errors have no common name in the client
            if getattr(error, "http_status_code", None) == NOT_FOUND:
                raise CodecError("unknown_schema", f"schema id {number} is not in {self._url}") from error
            raise BrokerAway(f"schema registry {self._url} does not answer: {_said(error)}") from error


def subjects(topology: Topology) -> dict[str, str]:
    """Schema name -> subject; by topic, packed returns have none, since their topic's subject is taken."""
    assert topology.wire.registry is not None
    if topology.wire.registry.subjects == "record":
        return {name: full for full, name in _FULL_NAMES.items()}
    roles = {SCHEMA_NAMES[cls]: role for role, cls in INPUTS.items()}
    roles |= {SCHEMA_NAMES[cls]: role for cls, role in OUTPUTS.items()}
    return {name: f"{topology.topics.names[role]}-value" for name, role in roles.items()}


def connected(topology: Topology, client: Any = None) -> Topology:
    """The topology with the ids that its registry has for the shipped schemas.

    Parameters
    ----------
    topology : Topology
        With ``wire.registry``.
    client : SchemaRegistryClient, optional
        Made from the topology when not given.

    Raises
    ------
    ConfigurationError
        When schemas are not registered; it names them.
    BusError
        When the registry does not answer.
    """
    client = client or _client(topology)
    url, ids, missing = _url(topology), {}, []
    for name, subject in subjects(topology).items():
        try:
            ids[name] = client.lookup_schema(subject, _schema(name)).schema_id
        except Exception as error:
            if getattr(error, "http_status_code", None) != NOT_FOUND:
                raise BusError(f"schema registry {url} does not answer: {_said(error)}") from error
            if name not in OPTIONAL_SCHEMAS:
                missing.append(subject)
    if missing:
        raise ConfigurationError(
            f"schema registry {url} lacks this release's schemas under {', '.join(missing)}; "
            "run stream-allocator schemas register"
        )
    wire = topology.wire.model_copy(update={"schema_ids": RegistryIds(client, url, ids)})
    other = topology.model_copy(update={"wire": wire})
    other._policies = dict(topology._policies)
    return other


def register(topology: Topology, client: Any = None) -> dict[str, int]:
    """Publish the shipped schemas; subject -> id. What is there already keeps its id.

    Raises
    ------
    ConfigurationError
        When the topology names no registry.
    BusError
        When the registry does not answer, or refuses a schema.
    """
    if topology.wire.registry is None:
        raise ConfigurationError(f"topology {topology.name}: wire.registry.url is not set")
    client = client or _client(topology)
    found = {}
    for name, subject in subjects(topology).items():
        try:
            found[subject] = int(client.register_schema(subject, _schema(name)))
        except Exception as error:
            raise BusError(f"schema registry {_url(topology)}, subject {subject}: {_said(error)}") from error
    return found


def _client(topology: Topology) -> Any:
    from confluent_kafka.schema_registry import SchemaRegistryClient  # its imports take half a second

    assert topology.wire.registry is not None
    return SchemaRegistryClient.new_client(topology.wire.registry.client_settings())


def _schema(name: str) -> Any:
    from confluent_kafka.schema_registry import Schema

    return Schema(json.dumps(raw_schema(name)), "AVRO")


def _url(topology: Topology) -> str:
    assert topology.wire.registry is not None
    return topology.wire.registry.url


def _full_name(raw: Any) -> str:
    return f"{raw.get('namespace', '')}.{raw.get('name', '')}" if isinstance(raw, dict) else ""


def _said(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:300]


_FULL_NAMES = {_full_name(raw_schema(name)): name for name in SCHEMA_NAMES.values()}
