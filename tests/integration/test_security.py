"""TLS, SASL and ACLs on real Kafka: what each role can do, that it can do no more, and where secrets show."""

import json
import os
import uuid

import pytest
import worlds
import yaml
from cluster import Feeder, Outputs, WorkerProcess, make_topology
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from secured import KEY_PASSWORD, SECRETS, USERS, secured_broker
from typer.testing import CliRunner

from stream_allocator.cli import app
from stream_allocator.errors import BusError
from stream_allocator.stream.acls import grant
from stream_allocator.stream.checks import check
from stream_allocator.stream.clients import consumer_settings, producer_settings
from stream_allocator.stream.execute import PaperExecution
from stream_allocator.stream.reader import TopicReader
from stream_allocator.stream.roles import ROLES
from stream_allocator.topology import Security

pytestmark = pytest.mark.kafka

INPUTS = {"returns", "positions", "control"}
DECISIONS = {"allocations", "evidence"}
COMPARED = {*DECISIONS, "regimes", "audit"}
EVERY = {*INPUTS, *COMPARED, "dead_letters", "snapshots"}

#: What each role should be able to do, written down by hand: topics, groups and what else there is.
CAN = {
    "feeder": {"write": {"returns"}},
    "oms": {"read": {"allocations"}, "write": {"positions"}, "join": {"-oms"}},
    "paper": {"read": {"returns", "positions", "allocations"}, "write": {"positions"}},
    "worker": {
        "read": {*INPUTS, "audit", "regimes", "dead_letters", "snapshots"},
        "write": {*COMPARED, "dead_letters", "snapshots"},
        "join": {""},
        "transact": {"-any"},
    },
    "operator": {"read": {*COMPARED, "dead_letters"}, "write": {"control"}, "inspect": EVERY},
    "reader": {"read": {*INPUTS, *COMPARED, "dead_letters"}},
    "verifier": {"read": DECISIONS},
    "provisioner": {"inspect": EVERY, "create": EVERY},
    "nobody": {},
}
#: What a client hears when it may not.
REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    with secured_broker(tmp_path_factory.mktemp("security")) as broker:
        yield broker


def act_as(user, secret=None):
    """Who the clients are that are made from now on."""
    os.environ["STREAM_ALLOCATOR_SASL_USERNAME"] = user
    os.environ["STREAM_ALLOCATOR_SASL_PASSWORD"] = secret or SECRETS[user]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("SASL_USERNAME", "SASL_PASSWORD"):
        monkeypatch.setenv(f"STREAM_ALLOCATOR_{name}", "")  # put back when the test ends
    monkeypatch.setenv("STREAM_ALLOCATOR_KEY_PASSWORD", KEY_PASSWORD)
    act_as("admin")


@pytest.fixture
def world(secured, tmp_path):
    """A topology file, and the topology, whose topics exist and whose users have their roles."""
    path, topology = make_topology(tmp_path, secured.sasl, security=secured.security())
    for role in ROLES:
        grant(topology, role, f"User:{role.name}")
    return path, topology


def call(user, *arguments, secret=None):
    """A command of the product, as a user."""
    act_as(user, secret)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(ask, *arguments):
    """Whether the broker refuses; any other trouble is none of its authoriser's."""
    try:
        ask(*arguments)
    except KafkaException as failure:
        if failure.args[0].code() in REFUSED:
            return True
        if failure.args[0].code() in {KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.UNKNOWN_MEMBER_ID}:
            return False
        raise
    return False


class Attempts:
    """Everything that one user can try on a topology, tried with plain clients."""

    def __init__(self, topology, user):
        act_as(user)
        self.topology, self.names = topology, topology.topics.names
        self.group = topology.worker.group
        settings = producer_settings(topology)
        self.admin = AdminClient({k: v for k, v in settings.items() if k.startswith(("boot", "s"))})

    def write(self):
        """Topics that a record can be produced to."""
        # an idempotent producer that may write nowhere does not even get an id
        done, producer = {}, Producer({**producer_settings(self.topology), "enable.idempotence": False})
        for topic, name in self.names.items():
            report = lambda error, _, topic=topic: done.update({topic: error})  # noqa: E731
            producer.produce(name, b"anything", key=b"u", partition=0, on_delivery=report)
        assert producer.flush(20) == 0
        assert {error.code() for error in done.values() if error is not None} <= REFUSED
        return {topic for topic, error in done.items() if error is None}

    def read(self):
        """Topics that can be consumed to their end."""
        group = f"{self.group}-reader"
        consumer = Consumer(consumer_settings(self.topology, group, overrides={"enable.partition.eof": True}))
        seen = {n: consumer.list_topics(n, timeout=20).topics[n].error for n in self.names.values()}
        answers = {name: error.code() for name, error in seen.items() if error is not None}
        consumer.assign([TopicPartition(n, 0, 0) for n in self.names.values() if n not in answers])
        for _ in range(200):
            if len(answers) == len(self.names):
                break
            message = consumer.poll(0.1)
            error = None if message is None else message.error()
            if error is not None and message.topic() in self.names.values():
                answers.setdefault(message.topic(), error.code())
        consumer.close()
        assert set(answers.values()) <= {KafkaError._PARTITION_EOF, KafkaError.TOPIC_AUTHORIZATION_FAILED}
        assert len(answers) == len(self.names)
        return {t for t, name in self.names.items() if answers[name] == KafkaError._PARTITION_EOF}

    def join(self):
        """Groups in whose name offsets can be committed."""

        def commit(suffix):
            place = [TopicPartition(self.names["returns"], 0, 1)]
            request = ConsumerGroupTopicPartitions(self.group + suffix, place)
            for future in self.admin.alter_consumer_group_offsets([request]).values():
                (answer,) = future.result(20).topic_partitions
                if answer.error is not None and answer.error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                    raise KafkaException(answer.error)

        return {suffix for suffix in ("", "-oms", "-paper", "-other") if not refused(commit, suffix)}

    def transact(self):
        """Suffixes of transactional ids that are granted."""

        def begin(name):
            Producer(producer_settings(self.topology, name)).init_transactions(20)

        ids = {"-any": f"{self.group}-any", "other": f"other-{self.group}"}
        return {suffix for suffix, name in ids.items() if not refused(begin, name)}

    def inspect(self):
        """Topics whose settings are shown."""
        resources = {t: ConfigResource(ConfigResource.Type.TOPIC, n) for t, n in self.names.items()}
        futures = self.admin.describe_configs(list(resources.values()))
        return {t for t, resource in resources.items() if not refused(futures[resource].result, 20)}

    def create(self):
        """Topics that could be created, if they did not exist."""
        futures = self.admin.create_topics([NewTopic(name, 1, 1) for name in self.names.values()])
        return {t for t, name in self.names.items() if not refused(futures[name].result, 20)}

    def administer(self):
        """What nobody's role is: other topics, settings, ACLs, groups, deletion."""
        admin, topic = self.admin, self.names["returns"]
        entry = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
        changed = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
        acl = AclBinding(
            *(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:nobody", "*"),
            *(AclOperation.READ, AclPermissionType.ALLOW),
        )
        futures = {
            "create another": admin.create_topics([NewTopic(f"x-{topic}", 1, 1)]),
            "alter": admin.incremental_alter_configs([changed]),
            "grant": admin.create_acls([acl]),
            "delete group": admin.delete_consumer_groups([self.group]),
            "delete": admin.delete_topics([topic]),
        }
        return {
            what
            for what, asked in futures.items()
            for future in asked.values()
            if not refused(future.result, 20)
        }


def test_every_role_can_do_what_its_line_says_and_everything_else_is_refused(world):
    _, topology = world
    kinds = ("write", "read", "join", "transact", "inspect", "create", "administer")
    assert set(CAN) == set(USERS) - {"admin"}
    wrong = {}
    for user, can in CAN.items():
        attempts = Attempts(topology, user)
        for kind in kinds:
            could, should = getattr(attempts, kind)(), can.get(kind, set())
            if could != should:
                wrong[user, kind] = {"more": could - should, "less": should - could}
    assert wrong == {}


def prices(path, bars):
    """A price file of the test universe."""
    levels = 100 * (1 + worlds.returns(bars)).cumprod(axis=0)
    days = [f"2020-{i // 28 + 1:02d}-{i % 28 + 1:02d}" for i in range(bars)]
    rows = [",".join([day, *(f"{x:.6f}" for x in level)]) for day, level in zip(days, levels, strict=True)]
    path.write_text("\n".join([",".join(["date", *worlds.ASSETS]), *rows]) + "\n")
    return path


def logged_in(path, secured, how):
    """The topology file with another way to log in, for the worker."""
    other = path.with_name(f"{how}.yaml")
    data = yaml.safe_load(path.read_text())
    data["security"] = secured.security(how)
    data["bootstrap_servers"] = secured.tls if how == "certificate" else secured.sasl
    other.write_text(yaml.safe_dump(data))
    return other


def test_every_role_does_its_work_with_the_products_own_commands(secured, world, tmp_path):
    path, topology = world
    said = []

    def do(user, *command, code=0, how=path):
        result = call(user, *command, "--topology", how)
        said.append(result.output + repr(result.exception))
        assert result.exit_code == code, (user, command, result.output, result.exception)
        return result.output

    regimes = Outputs(topology, "regimes")  # as admin
    positions = TopicReader(topology)
    do("provisioner", "topics", "create")
    for role in ROLES:
        do(role.name, "topics", "check", "--role", role.name)
    do("feeder", "feed", "--prices", prices(tmp_path / "prices.csv", 61))
    act_as("paper")
    paper = PaperExecution(topology)

    bars, before = 60, 0
    for how in ("scram", "certificate", "token"):  # each restores what the one before has left
        act_as("worker")
        with WorkerProcess(logged_in(path, secured, how), STREAM_ALLOCATOR_TELEMETRY="console") as worker:
            regimes.until(bars, worker)
            do("feeder", "feed", "--prices", prices(tmp_path / "prices.csv", bars + 11))
            bars += 10
            regimes.until(bars, worker)
            for _ in range(100):
                paper.step()
                if positions.bounds("positions", 0)[1] > 0:
                    break
            assert worker.stop() == 0
            assert f"bars={before} replayed=0" in worker.text()
            before = bars
            said.append(worker.text())
    paper.close()
    assert positions.bounds("positions", 0)[1] > 0
    assert secured.tokens.issued > 0

    act_as("oms")
    oms = Consumer(consumer_settings(topology, f"{topology.worker.group}-oms"))
    oms.subscribe([topology.topics.allocations])
    message = None
    while message is None or message.error() is not None:
        message = oms.poll(1.0)
    oms.commit(message, asynchronous=False)
    oms.close()
    Feeder(topology).send([worlds.position(80, 10**9, [250, 250, 250, 150], cash=100, source="oms")])

    words = ("--universe", "u", "--portfolio", "core", "--operator", "ann", "--reason", "drill")
    do("operator", "control", *words, "--mode", "baseline")
    for user in ("operator", "reader", "verifier"):
        assert json.loads(do(user, "verify", "--json"))["passed"]
        do(user, "explain", "--json")
    assert json.loads(do("reader", "replay", "--json"))["identical"]
    do("reader", "record", tmp_path / "archive")

    for user, role in (("feeder", "worker"), ("worker", "operator"), ("nobody", "oms")):
        text = do(user, "topics", "check", "--role", role, code=1)
        assert f"which role {role} needs; grant it: stream-allocator acls --role {role}" in text
    for user, command in (("verifier", ("replay",)), ("worker", ("control", *words, "--mode", "halted"))):
        result = call(user, *command, "--topology", path)
        said.append(result.output + repr(result.exception))
        assert isinstance(result.exception, BusError)
        assert "authoriz" in str(result.exception)
    everything = "\n".join(said)
    assert not [user for user, secret in SECRETS.items() if secret in everything]
    assert KEY_PASSWORD not in everything


def test_a_worker_that_lacks_a_right_names_each_and_does_not_begin(secured, tmp_path):
    path, topology = make_topology(tmp_path, secured.sasl, security=secured.security())
    feeder = next(role for role in ROLES if role.name == "feeder")
    grant(topology, feeder, "User:feeder")
    act_as("feeder")
    with WorkerProcess(path) as worker:
        assert worker.wait() == 3
        lines = [line for line in worker.text().splitlines() if "lacks" in line]
    assert len(lines) == 10  # nine topics and the group
    assert any(f"topic {topology.topics.returns}: this user lacks Read, which" in line for line in lines)
    assert any(f"topic {topology.topics.audit}: this user lacks Read and Write" in line for line in lines)


def test_a_worker_whose_rights_are_taken_away_ends_with_a_clear_line(secured, world):
    path, topology = world
    feeder, regimes = Feeder(topology), Outputs(topology, "regimes")
    act_as("worker")
    with WorkerProcess(path) as worker:
        feeder.send([worlds.tick(i, x) for i, x in enumerate(worlds.returns(30))])
        regimes.until(30, worker)
        act_as("admin")
        admin = AdminClient(
            {k: v for k, v in producer_settings(topology).items() if k.startswith(("b", "s"))}
        )
        from confluent_kafka.admin import AclBindingFilter

        name = topology.topics.regimes
        acls = AclBindingFilter(
            *(ResourceType.TOPIC, name, ResourcePatternType.LITERAL, "User:worker", None),
            *(AclOperation.WRITE, AclPermissionType.ALLOW),
        )
        for future in admin.delete_acls([acls]).values():
            assert len(future.result(10)) == 1
        feeder.send([worlds.tick(30, [0.0, 0.01, 0.0, 0.0])])
        assert worker.wait() == 3
        assert "the broker refuses the worker's records" in worker.text()


@pytest.mark.parametrize("how", ["scram", "certificate", "token"])
def test_a_wrong_secret_is_a_clear_line_that_does_not_hold_it(secured, world, monkeypatch, capfd, how):
    path, _ = world
    wrong = f"wr0ng-{uuid.uuid4().hex}"
    if how == "certificate":
        monkeypatch.setenv("STREAM_ALLOCATOR_KEY_PASSWORD", wrong)
    result = call("worker", "topics", "check", "--topology", logged_in(path, secured, how), secret=wrong)
    assert isinstance(result.exception, BusError)
    told = "".join([str(result.exception), repr(result.exception), result.output, *capfd.readouterr()])
    assert wrong not in told
    assert SECRETS["worker"] not in told
    said = {"scram": "Authentication failed", "certificate": "ssl.key", "token": "invalid_client"}[how]
    assert said in str(result.exception)


def test_a_client_without_a_certificate_is_turned_away(secured, world, monkeypatch):
    monkeypatch.setattr("stream_allocator.stream.clients.ANSWER_SECONDS", 2.0)
    _, topology = world
    security = {"protocol": "SSL", "ca_location": str(secured.authority.ca)}
    other = topology.model_copy(update={"security": Security(**security), "bootstrap_servers": secured.tls})
    with pytest.raises(BusError, match="does not answer"):
        check(other)
