"""Client settings: the measured ones, TLS and SASL, and secrets that show nowhere."""

import logging
import traceback

import pytest
from confluent_kafka import Consumer, Producer

from stream_allocator.errors import ConfigurationError
from stream_allocator.stream.clients import FETCH_WAIT_VARIABLE, consumer_settings, producer_settings
from stream_allocator.topology import Security, Topology, Universe, Worker

SECRET = "correct horse battery staple"


def topology(**changes):
    universe = Universe(name="u", assets=("A",), portfolios=({"name": "p", "policy": "p.yaml"},))
    return Topology(name="t", bootstrap_servers="127.0.0.1:1", universes=(universe,), **changes)


@pytest.fixture
def secured(monkeypatch):
    monkeypatch.setenv("STREAM_ALLOCATOR_SASL_USERNAME", "ann")
    monkeypatch.setenv("STREAM_ALLOCATOR_SASL_PASSWORD", SECRET)
    return topology(security=Security(protocol="SASL_SSL", mechanism="PLAIN"))


def test_a_transactional_producer_does_not_back_off_between_transactions():
    settings = producer_settings(topology(), "group-0")
    assert settings["transactional.id"] == "group-0"
    assert settings["retry.backoff.ms"] == settings["retry.backoff.max.ms"] == 1
    assert (settings["linger.ms"], settings["acks"], settings["enable.idempotence"]) == (20, "all", True)
    plain = producer_settings(topology())
    assert "retry.backoff.ms" not in plain
    assert plain["linger.ms"] == 0  # nothing flushes what a feeder or an execution publishes


def test_consumers_commit_nothing_by_themselves_and_see_what_is_committed():
    settings = consumer_settings(topology(), "g")
    assert settings["enable.auto.commit"] is settings["enable.auto.offset.store"] is False
    assert settings["isolation.level"] == "read_committed"
    assert (settings["auto.offset.reset"], settings["fetch.queue.backoff.ms"]) == ("earliest", 1)
    dirty = consumer_settings(topology(), "g", read_committed=False)
    assert dirty["isolation.level"] == "read_uncommitted"


def test_one_member_gets_the_same_partitions_of_all_topics():
    assert consumer_settings(topology(), "g")["partition.assignment.strategy"] == "range"
    newer = consumer_settings(topology(worker=Worker(group_protocol="consumer")), "g")
    assert (newer["group.protocol"], newer["group.remote.assignor"]) == ("consumer", "range")
    assert "session.timeout.ms" not in newer  # the broker's, in that protocol


def test_an_instance_id_makes_a_static_member():
    assert "group.instance.id" not in consumer_settings(topology(), "g")
    assert consumer_settings(topology(), "g", instance_id="w-0")["group.instance.id"] == "w-0"


def test_the_wait_of_empty_fetches_comes_from_the_environment_and_overrides_win(monkeypatch):
    assert consumer_settings(topology(), "g")["fetch.wait.max.ms"] == 10
    monkeypatch.setenv(FETCH_WAIT_VARIABLE, "1")
    assert consumer_settings(topology(), "g")["fetch.wait.max.ms"] == 1
    assert consumer_settings(topology(), "g", overrides={"fetch.wait.max.ms": 7})["fetch.wait.max.ms"] == 7


def test_sasl_and_tls_reach_every_client(secured):
    for settings in (producer_settings(secured), consumer_settings(secured, "g")):
        assert settings["security.protocol"] == "SASL_SSL"
        assert (settings["sasl.username"], settings["sasl.password"]) == ("ann", SECRET)
        assert settings["sasl.mechanism"] == "PLAIN"


def test_tls_without_sasl_names_files_and_takes_the_key_password_from_the_environment(monkeypatch):
    monkeypatch.setenv("STREAM_ALLOCATOR_KEY_PASSWORD", SECRET)
    security = Security(protocol="SSL", ca_location="/ca", certificate_location="/cert", key_location="/key")
    settings = producer_settings(topology(security=security))
    files = [settings[f"ssl.{k}.location"] for k in ("ca", "certificate", "key")]
    assert files == ["/ca", "/cert", "/key"]
    assert settings["ssl.key.password"] == SECRET
    assert "sasl.mechanism" not in settings


def test_sasl_without_its_variables_is_a_clear_error(monkeypatch):
    monkeypatch.delenv("STREAM_ALLOCATOR_SASL_USERNAME", raising=False)
    with pytest.raises(ConfigurationError, match="STREAM_ALLOCATOR_SASL_USERNAME"):
        producer_settings(topology(security=Security(protocol="SASL_SSL")))


def test_plaintext_sends_no_secret_that_happens_to_be_set(monkeypatch, secured):
    assert SECRET not in str(producer_settings(topology()))


def test_librdkafka_accepts_every_setting():
    Producer(producer_settings(topology(), "t"))
    for protocol in ("classic", "consumer"):
        worker = topology(worker=Worker(group_protocol=protocol))
        Consumer(consumer_settings(worker, "g", instance_id="w")).close()


def test_a_broker_that_is_away_shows_no_secret(secured, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    producer = Producer(producer_settings(secured))
    producer.poll(0.5)
    out, err = capfd.readouterr()
    assert SECRET not in caplog.text + out + err + repr(secured) + secured.model_dump_json()


def test_a_secret_file_wins_over_the_variable_and_loses_its_newline(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAM_ALLOCATOR_SASL_PASSWORD", "of the variable")
    user, password = tmp_path / "user", tmp_path / "password"
    user.write_text("ann\n")
    password.write_bytes(b" " + SECRET.encode() + b"\r\n")
    security = Security(protocol="SASL_SSL", username_file=str(user), password_file=str(password))
    settings = security.client_settings()
    assert (settings["sasl.username"], settings["sasl.password"]) == ("ann", " " + SECRET)
    assert SECRET not in repr(security)


@pytest.mark.parametrize("content", [None, b"", SECRET.encode() + b"\xff"])
def test_a_secret_file_that_cannot_be_used_is_named_without_its_content(tmp_path, content):
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    security = Security(protocol="SASL_SSL", username_file=str(file), password_file=str(file))
    with pytest.raises(ConfigurationError) as caught:
        security.client_settings()
    assert str(file) in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_oauthbearer_asks_the_token_endpoint_with_id_and_secret(secured):
    with pytest.raises(ValueError, match="token_endpoint"):
        Security(protocol="SASL_SSL", mechanism="OAUTHBEARER")
    security = Security(
        protocol="SASL_SSL",
        mechanism="OAUTHBEARER",
        token_endpoint="https://idp.test/token",
        token_scope="kafka",
    )
    settings = security.client_settings()
    assert "sasl.password" not in settings
    assert {key.rpartition("bearer.")[2]: settings[key] for key in settings if "bearer." in key} == {
        "method": "oidc",
        "client.id": "ann",
        "client.secret": SECRET,
        "token.endpoint.url": "https://idp.test/token",
        "scope": "kafka",
    }
