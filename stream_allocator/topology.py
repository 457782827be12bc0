"""Where the allocator runs: broker, security, topics, universes and their portfolios.

A topology is one YAML file; the policies that its portfolios name are files beside it. Secrets are never
in it: it names the environment variables or files that hold them.
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from stream_allocator.codec import OPTIONAL_SCHEMAS, SCHEMA_NAMES
from stream_allocator.errors import ConfigurationError
from stream_allocator.events import Mode
from stream_allocator.policy import Policy, Section, load_model, load_policy

__all__ = [
    "Portfolio",
    "Security",
    "Topics",
    "Topology",
    "Universe",
    "Wire",
    "Worker",
    "load_topology",
]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]
EnvironmentVariable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


def _twice(names: Iterable[str]) -> list[str]:
    """Names that occur more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


class Portfolio(Section):
    """One portfolio: its policy file, relative to the topology's, and the mode that it starts in."""

    name: Name
    policy: str
    mode: Mode = "active"


class Universe(Section):
    """Ordered assets, their groups, and the portfolios that hold them. The shard key: one Kafka key."""

    name: Name
    assets: Annotated[tuple[Name, ...], Field(min_length=1)]
    groups: Annotated[
        dict[Name, tuple[str, ...]],
        Field(default_factory=dict, description="group -> its assets; may overlap"),
    ]
    portfolios: Annotated[tuple[Portfolio, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in (("assets", self.assets), ("portfolios", tuple(p.name for p in self.portfolios))):
            if twice := _twice(names):
                raise ValueError(f"{what} of universe {self.name} are named twice: {', '.join(twice)}")
        known = set(self.assets)
        for group, members in self.groups.items():
            unknown = [m for m in members if m not in known]
            if unknown:
                raise ValueError(f"group {group} names assets that the universe lacks: {', '.join(unknown)}")
        return self


class Topics(Section):
    """Names of the topics, and what ``topics create`` gives them. All have the same partition count."""

    returns: Name = "returns"
    positions: Name = "positions"
    control: Name = "control"
    allocations: Name = "allocations"
    evidence: Name = "evidence"
    regimes: Name = "regimes"
    audit: Name = "audit"
    dead_letters: Name = "dead-letters"
    snapshots: Name = "snapshots"
    partitions: Annotated[int, Field(ge=1)] = 4
    replication_factor: Annotated[int, Field(ge=1)] = 3
    min_insync_replicas: Annotated[int, Field(ge=1)] = 2
    retention_days: Annotated[
        float | None, Field(gt=0, description="of all topics but snapshots; for ever when not given")
    ] = None

    @property
    def inputs(self) -> tuple[str, str, str]:
        """The three topics that a worker consumes."""
        return self.returns, self.positions, self.control

    @property
    def names(self) -> dict[str, str]:
        """Role -> topic name, inputs first."""
        roles = ("returns", "positions", "control", "allocations", "evidence", "regimes", "audit")
        return {role: getattr(self, role) for role in (*roles, "dead_letters", "snapshots")}

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if twice := _twice(self.names.values()):
            raise ValueError(f"topics must have names of their own; used twice: {', '.join(twice)}")
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError("min_insync_replicas must not be above replication_factor")
        return self


def _read_secret(key: str, file: str | None, variable: str) -> str | None:
    """The content of a file, named by a key of the topology, else that of a variable."""
    if file is None:
        return os.environ.get(variable)
    try:
        return Path(file).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ConfigurationError(f"{key} {file}: {error.strerror}") from error
    except UnicodeDecodeError:  # its text would show the bytes
        raise ConfigurationError(f"{key} {file} is not UTF-8 text") from None


class Security(Section):
    """How clients reach the broker. Each secret comes from an environment variable, or from a file.

    With OAUTHBEARER, user name and password are the client's id and secret at ``token_endpoint``.
    """

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "SCRAM-SHA-512"
    username_env: EnvironmentVariable = "STREAM_ALLOCATOR_SASL_USERNAME"
    password_env: EnvironmentVariable = "STREAM_ALLOCATOR_SASL_PASSWORD"
    username_file: str | None = None
    password_file: str | None = None
    token_endpoint: str | None = Field(default=None, description="where OAUTHBEARER gets its tokens (OIDC)")
    token_scope: str | None = None
    ca_location: str | None = None
    certificate_location: str | None = None
    key_location: str | None = None
    key_password_env: EnvironmentVariable = "STREAM_ALLOCATOR_KEY_PASSWORD"
    key_password_file: str | None = None

    @model_validator(mode="after")
    def _endpoint(self) -> Self:
        oauth = self.protocol.startswith("SASL") and self.mechanism == "OAUTHBEARER"
        if oauth and self.token_endpoint is None:
            raise ValueError("mechanism OAUTHBEARER needs token_endpoint")
        if "@" in (self.token_endpoint or "").partition("://")[2].partition("/")[0]:
            raise ValueError("token_endpoint must not hold a user name or password: it appears in errors")
        return self

    def client_settings(self) -> dict[str, str]:
        """Settings for confluent-kafka.

        Raises
        ------
        ConfigurationError
            When SASL is chosen and a secret is missing; it names the variable or file, never the content.
        """
        settings: dict[str, str] = {"security.protocol": self.protocol}
        if self.protocol.endswith("SSL"):
            places = {
                "ssl.ca.location": self.ca_location,
                "ssl.certificate.location": self.certificate_location,
                "ssl.key.location": self.key_location,
                "ssl.key.password": self._secret("key_password"),
            }
            settings |= {key: value for key, value in places.items() if value}
        if self.protocol.startswith("SASL"):
            oauth = self.mechanism == "OAUTHBEARER"
            settings["sasl.mechanism"] = self.mechanism
            settings["sasl.oauthbearer.client.id" if oauth else "sasl.username"] = self._needed("username")
            settings["sasl.oauthbearer.client.secret" if oauth else "sasl.password"] = self._needed(
                "password"
            )
            if oauth:
                places = {"token.endpoint.url": self.token_endpoint, "scope": self.token_scope}
                settings |= {f"sasl.oauthbearer.{key}": value for key, value in places.items() if value}
                settings["sasl.oauthbearer.method"] = "oidc"
        return settings

    def _secret(self, name: Literal["username", "password", "key_password"]) -> str | None:
        """The file's content where one is named, else the variable's."""
        file = {
            "username": self.username_file,
            "password": self.password_file,
            "key_password": self.key_password_file,
        }[name]
        return _read_secret(f"security.{name}_file", file, self._variable(name))

    def _needed(self, name: Literal["username", "password"]) -> str:
        value = self._secret(name)
        if value is None:
            variable = self._variable(name)
            raise ConfigurationError(
                f"security.protocol is {self.protocol}: set the environment variable {variable}"
                f" or security.{name}_file"
            )
        if not value:
            file = getattr(self, f"{name}_file")
            raise ConfigurationError(f"security: {file or self._variable(name)} is empty")
        return value

    def _variable(self, name: str) -> str:
        return str(getattr(self, f"{name}_env"))


class Worker(Section):
    """The consume-step-publish loop."""

    group: Name = "stream-allocator"
    batch_records: Annotated[int, Field(ge=1, le=100_000)] = 5000
    batch_seconds: Annotated[float, Field(gt=0, le=60)] = 0.01
    snapshot_bars: Annotated[int, Field(ge=1, description="closed bars of a universe between snapshots")] = (
        250
    )
    chunk_bytes: Annotated[
        int, Field(ge=1024, le=10_000_000, description="largest snapshot record and dead letter")
    ] = 900_000
    max_ahead_seconds: Annotated[
        float | None,
        Field(
            gt=0, description="event time by which returns may lie after the last closed bar; null: no limit"
        ),
    ] = 400 * 86_400
    session_timeout_seconds: Annotated[float, Field(gt=0)] = 15
    transaction_timeout_seconds: Annotated[float, Field(gt=0)] = 30
    group_protocol: Literal["classic", "consumer"] = "classic"


class Registry(Section):
    """A schema registry with Confluent's interface; without a user name it is asked without credentials."""

    url: Annotated[str, Field(pattern=r"^(https?|mock)://[^@\s]+$", description="without user or password")]
    subjects: Literal["record", "topic"] = Field(
        default="record",
        description="record: the schema's full name; topic: TOPIC-value, which cannot hold packed returns",
    )
    username_env: EnvironmentVariable = "STREAM_ALLOCATOR_REGISTRY_USERNAME"
    password_env: EnvironmentVariable = "STREAM_ALLOCATOR_REGISTRY_PASSWORD"
    username_file: str | None = None
    password_file: str | None = None
    ca_location: str | None = None

    def client_settings(self) -> dict[str, Any]:
        """Settings for confluent-kafka's registry client.

        Raises
        ------
        ConfigurationError
            When a file with a secret cannot be read; it names the file, never the content.
        """
        settings: dict[str, Any] = {"url": self.url, "timeout": 10, "max.retries": 1}
        username = _read_secret("wire.registry.username_file", self.username_file, self.username_env)
        password = _read_secret("wire.registry.password_file", self.password_file, self.password_env)
        if username:
            settings["basic.auth.user.info"] = f"{username}:{password or ''}"
        if self.ca_location:
            settings["ssl.ca.location"] = self.ca_location
        return settings


class Wire(Section):
    """How a reader learns the writer's schema."""

    framing: Literal["fingerprint", "confluent"] = "fingerprint"
    schema_ids: dict[str, int] = Field(
        default_factory=dict, description="schema name -> registry id, for confluent without registry.url"
    )
    registry: Registry | None = Field(default=None, description="where confluent gets its ids and schemas")

    @model_validator(mode="after")
    def _ids(self) -> Self:
        if self.registry is not None and (self.framing != "confluent" or self.schema_ids):
            raise ValueError("registry goes with framing confluent, and gives schema_ids itself")
        if self.framing == "confluent" and self.registry is None:
            missing = sorted(set(SCHEMA_NAMES.values()) - OPTIONAL_SCHEMAS - set(self.schema_ids))
            if missing:
                raise ValueError(
                    f"framing confluent needs a registry, or schema_ids for: {', '.join(missing)}"
                )
        return self


class Topology(Section):
    """A whole deployment. Load it with :func:`load_topology`, which reads the policies too."""

    name: Name
    bootstrap_servers: str = "localhost:9092"
    security: Security = Security()
    topics: Topics = Topics()
    wire: Wire = Wire()
    worker: Worker = Worker()
    universes: Annotated[tuple[Universe, ...], Field(min_length=1)]
    _policies: dict[tuple[str, str], Policy] = PrivateAttr(default_factory=dict)
    _named: tuple[tuple[Universe, ...], dict[str, Universe]] = PrivateAttr(default=((), {}))

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if twice := _twice(u.name for u in self.universes):
            raise ValueError(f"universes are named twice: {', '.join(twice)}")
        return self

    def at(self, bootstrap_servers: str) -> "Topology":
        """The same topology on another broker."""
        other = self.model_copy(update={"bootstrap_servers": bootstrap_servers})
        other._policies = dict(self._policies)
        return other

    def universe(self, name: str) -> Universe | None:
        """The universe of that name, if there is one; every record asks, so it is a look-up."""
        indexed, named = self._named
        if indexed is not self.universes:  # the first question, or a copy with other universes
            named = {u.name: u for u in self.universes}
            self._named = self.universes, named
        return named.get(name)

    def policies(self, universe: str) -> dict[str, Policy]:
        """Portfolio -> policy for one universe."""
        known = self.universe(universe)
        names = () if known is None else [(universe, p.name) for p in known.portfolios]
        return {where[1]: self._policies[where] for where in names if where in self._policies}

    def with_policy(self, policy: Policy) -> "Topology":
        """The same topology with one policy for every portfolio, as replay of another policy wants it."""
        other = self.model_copy()
        other._policies = dict.fromkeys(self._policies, policy)
        for universe in self.universes:
            check_policies(universe, other.policies(universe.name), f"topology {self.name}")
        return other


def check_policies(universe: Universe, policies: dict[str, Policy], where: str) -> None:
    """Whether policies fit a universe and one another.

    Raises
    ------
    ConfigurationError
        Naming the portfolio and the key.
    """
    first_name, first = next(iter(policies.items()))
    for name, policy in policies.items():
        at = f"{where}: universe {universe.name}, portfolio {name}, policy {policy.name}"
        for part in ("regime", "moments"):
            if getattr(policy, part) != getattr(first, part):
                raise ConfigurationError(
                    f"{at}: {part} differs from portfolio {first_name}'s; one universe has one "
                    f"posterior and one covariance, so give its policies the same {part} section"
                )
        for key, names, known in (
            ("limits.assets", policy.limits.assets, universe.assets),
            ("limits.groups", policy.limits.groups, tuple(universe.groups)),
            ("costs.assets", policy.costs.assets, universe.assets),
            (
                "limits.benchmark.weights",
                policy.limits.benchmark.weights if policy.limits.benchmark else {},
                universe.assets,
            ),
        ):
            unknown = sorted(set(names) - set(known))
            if unknown:
                raise ConfigurationError(
                    f"{at}: {key} names {', '.join(unknown)}, unknown to the universe; "
                    f"known: {', '.join(known)}"
                )
        upper = sum(policy.limits.assets.get(a, policy.limits).upper for a in universe.assets)
        if upper < 1 - policy.limits.cash_upper - 1e-12:
            raise ConfigurationError(
                f"{at}: limits.upper lets the weights add up to {upper:g} at most, limits.cash_upper asks "
                f"for {1 - policy.limits.cash_upper:g} at least; raise one of them"
            )


def load_topology(path: str | Path) -> Topology:
    """Read and check a topology and every policy that it names.

    Raises
    ------
    ConfigurationError
        Naming the file, the key, what is wrong and what is allowed.
    """
    path = Path(path)
    topology = load_model(Topology, path)
    named = {p.policy for u in topology.universes for p in u.portfolios}
    policies = {name: load_policy(path.parent / name) for name in sorted(named)}
    for universe in topology.universes:
        for portfolio in universe.portfolios:
            topology._policies[universe.name, portfolio.name] = policies[portfolio.policy]
        check_policies(universe, topology.policies(universe.name), str(path))
    return topology
