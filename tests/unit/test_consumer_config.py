"""The consumer's configuration file: what is read from it, and the error about each mistake."""

import re
import socket
import sys
from pathlib import Path

import pytest

from dupe_audit.consumer import librdkafka
from dupe_audit.consumer.config import Config, KafkaSettings
from dupe_audit.consumer.reading import read
from dupe_audit.errors import WrongUsage
from dupe_audit.model import Expression

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "consumer-config.md"

FILE = """\
[table]
name = "agent_actions"
key = ["correlation_id", "created_at"]

[columns]
correlation_id = { type = "uuid" }
details = { type = "jsonb", default = {} }
created_at = { type = "timestamptz", field = "timestamp" }

[kafka]
brokers = ["localhost:9092"]
group = "g"
topics = ["t"]
"""


@pytest.fixture
def load(tmp_path):
    """Read a file written for the test."""

    def load(text: str, **environment: str) -> Config:
        (tmp_path / "consumer.toml").write_text(text)
        return read(tmp_path / "consumer.toml", environment)

    return load


def test_the_example_of_the_reference_is_read(load):
    """The example in the reference gives the key, the columns and the defaults that the page documents."""
    example = re.search(r"```toml\n(.*?)```", REFERENCE.read_text(), re.DOTALL)[1]
    config = load(example)

    assert ("correlation_id", "action_name", "created_at") == config.table.key.columns
    assert [(False, "{}"), (False, True), (False, None)] == [
        (column.required, column.default) for column in config.columns[4:7]
    ]
    assert ("timestamp",) == config.columns[-1].path
    assert ("agent-actions-dlq", "agent-consumer-replay") == (
        config.dlq.topic_of("agent-actions"),
        config.dlq.replay_group,
    )


def test_the_defaults_are_as_documented(load):
    """The defaults in the tables of the reference are those in the code."""
    documented = {}
    for section in re.split(r"^## \[", REFERENCE.read_text(), flags=re.MULTILINE)[1:]:
        name = section.split("]")[0]
        for key, default in re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section, re.MULTILINE):
            documented[name, key] = default.strip('"')
    config = load(FILE)
    checked = 0
    for (section, key), default in documented.items():
        if section in ("table", "columns") or key == "replay_group" or default == "[]":
            continue
        value = getattr(getattr(config, section), key)
        unit = {"ms": 1, "s": 1000}.get(re.sub(r"[\d.]", "", default))
        assert value == (int(re.sub(r"\D", "", default)) * unit if unit else type(value)(default)) or (
            isinstance(value, bool) and str(value).lower() == default
        ), (section, key)
        checked += 1
    assert checked > 15


def test_the_part_of_the_table(load):
    """The condition of a partial index is the key's predicate."""
    part = load(FILE.replace("[columns]", 'where = "deleted_at IS NULL"\n\n[columns]'))
    assert ("deleted_at IS NULL", None) == (part.table.key.where, load(FILE).table.key.where)
    assert (True, False) == (part.table.needs_arbiter, load(FILE).table.needs_arbiter)


@pytest.mark.parametrize(
    ("key", "columns"),
    [
        ('["created_at", { expression = "lower(email)" }]', ("created_at", Expression("lower(email)"))),
        ("{ expression = \"details ->> 'id'\" }", (Expression("details ->> 'id'"),)),
        ('[\n  { expression = "${EXPRESSION}" },\n]', (Expression("abs(n) % 7"),)),
        ('"created_at"', ("created_at",)),
    ],
)
def test_a_key_with_expressions(load, key, columns):
    """Elements of a key are columns and expressions; a rollout needs no index for them."""
    file = FILE.replace('["correlation_id", "created_at"]', key)
    settings = load(file, EXPRESSION="abs(n) % 7").table
    assert columns == settings.key.columns
    assert settings.needs_arbiter is (columns != ("created_at",))
    assert not load(file.replace("[columns]", "rollout = true\n[columns]"), EXPRESSION="1").table.needs_arbiter


def test_environment_variables(load):
    """A variable provides part of a string, a number, a flag or a list; a doubled dollar is literal."""
    text = FILE.replace('["localhost:9092"]', '"${BROKERS}"').replace('"g"', '"agents-${STAGE}-$${x}"')
    config = load(
        text + '[http]\nport = "${PORT}"\nenabled = "${ON}"\n', BROKERS="a:1, b:2", STAGE="test", PORT="9", ON="false"
    )
    assert ("a:1,b:2", "agents-test-${x}") == (config.kafka.brokers, config.kafka.group)
    assert (9, False) == (config.http.port, config.http.enabled)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('group = "g"', 'grupo = "g"', 10, "Is 'grupo' a misspelling of it?"),
        ('group = "g"', 'group = "g"\nbroker = 1', 13, "Did you mean 'brokers'?"),
        ('"uuid" }', '"uid" }', 6, "Did you mean 'uuid'?"),
        ('{ type = "uuid" }', '"uuid"', 6, "must be a table"),
        ('{ type = "uuid" }', '{ type = "uuid", requierd = true }', 6, "Did you mean 'required'?"),
        ('{ type = "uuid" }', '{ type = "uuid", required = false }', 3, "NULL"),
        ('{ type = "uuid" }', '{ type = "uuid", default = "x" }', 6, "not of type uuid"),
        ("default = {} }", "default = {}, required = true }", 7, "cannot be required"),
        ("default = {} }", "default = 2026-01-01 }", 7, "not of type jsonb"),
        ('{ type = "uuid" }', '{ type = "uuid", field = [] }', 6, "at least one"),
        ('"jsonb", default = {}', '"jsonb", default = { a = [1, { b = -inf }] }', 7, "inf or nan"),
        ('"jsonb", default = {}', '"jsonb", default = nan', 7, "inf or nan"),
        ('"jsonb", default = {}', '"numeric", default = inf', 7, "inf or nan"),
        ('"jsonb", default = {}', '"double", default = +nan', 7, "inf or nan"),
        ('"created_at"]', '"craeted_at"]', 3, "Did you mean 'created_at'?"),
        ('"created_at"]', '{ expression = "" }]', 3, "not a valid expression"),
        ('"created_at"]', "{ expression = 1 }]", 3, "1 is not a valid expression"),
        ('"created_at"]', '{ expresion = "lower(a)" }]', 3, 'and of { expression = "…" }'),
        ('"created_at"]', '{ expression = "a" }, 7]', 3, 'and of { expression = "…" }'),
        ('name = "agent_actions"', f'name = "{"x" * 64}"', 1, "63 bytes"),
        ('name = "agent_actions"', "name = 3", 2, "must be a string, in quotes"),
        ('["t"]', "[]", 10, "cannot be empty"),
        ('["t"]', "[1]", 13, "list of strings"),
        ('["t"]', '["^t.*"]', 13, "regular expressions are not supported"),
        ('["t"]', '["t"]\n[dlq]\ntopic = "^{topic}-dlq"', 15, "regular expressions are not supported"),
        ('"localhost:9092"', '"${NOWHERE}"', 11, "NOWHERE is not set"),
        ('group = "g"', "group = g", 12, "not valid TOML"),
        ('["t"]', '["t"]\n[database]\nurl = " "', 15, "database.url is empty"),
        ('["t"]', '["t"]\n[batch]\nlinger = 200', 15, "duration"),
        ('["t"]', '["t"]\n[batch]\nrows = 0', 15, "from 1 to 10,000"),
        ('["t"]', '["t"]\n[breaker]\nshare = 10', 15, "above 0 and up to 1"),
        ('["t"]', '["t"]\n[dlq]\ntopic = "t"', 15, "read from"),
        ('["t"]', '["t"]\n[dlq]\nreplay_group = "g"', 15, "other than"),
        ('["t"]', '["t"]\n[dlq]\ntimeout = "5min"', 15, "(300,000 ms) must be shorter than max.poll.interval.ms"),
        ('["t"]', '["t"]\n[htpp]\nport = 1', 14, "Did you mean 'http'?"),
        ('["t"]', '["t"]\n[http]\nport = "9464"', 15, "whole number"),
        ('["t"]', '["t"]\nstart = "latst"', 14, "Did you mean 'latest'?"),
        ('["t"]', '["t"]\n[kafka.librdkafka]\nsecurity.protocol = "ssl"', 15, "need quotes"),
        ('["t"]', '["t"]\n[kafka.librdkafka]\n"client.rack" = []', 15, "must be a string"),
    ],
)
def test_errors_name_the_line(load, old, new, line, message):
    """The error about a mistake names the file and the line, and says what is expected."""
    assert old in FILE
    with pytest.raises(WrongUsage, match=re.escape(message)) as caught:
        load(FILE.replace(old, new, 1))
    assert f"consumer.toml, line {line}: " in str(caught.value)


@pytest.mark.parametrize("setting", sorted(librdkafka.REFUSED))
def test_settings_that_break_guarantees_are_refused(load, setting):
    """Settings that would commit unwritten events, or that the file names differently, are refused with the reason."""
    with pytest.raises(WrongUsage, match=f"line 15: '{re.escape(setting)}' cannot be set"):
        load(f'{FILE}[kafka.librdkafka]\n"{setting}" = "x"\n')


@pytest.mark.parametrize(
    ("settings", "line", "message"),
    [
        (['"client.rack" = "a"', '"max.in.flight.requests.per.connection" = 100'], 16, "must be set <= 5"),
        (['"client.rack" = "a"', '"max.in.flight" = 100'], 16, "must be set <= 5"),
        (['"client.rack" = "a"', '"retries" = 0'], 16, "must be set >= 1"),
        (['"client.rack" = "a"', '"linger.ms" = 60000'], 16, "must be greater than"),
        (['"client.rack" = "a"', '"compression.type" = "SECRET"'], 16, "compression.codec"),
        (['"client.rack" = "a"', '"fetch.min.bites" = 1'], 16, "No such configuration property"),
        (['"client.rack" = "a"', '"session.timeout.ms" = -7777'], 16, "outside allowed range 1..3600000"),
        (['"security.protocol" = "SASL_SSL"', '"sasl.mechanism" = "SECRET"'], 14, "Unsupported SASL mechanism: …"),
        (['"sasl.mechanism" = "PLAIN"', '"security.protocol" = "SASL_SSL"'], 14, "sasl.password must be set"),
        (['"sasl.password" = "SECRET"', '"security.protocol" = "SEC\\nRET"'], 16, "Invalid value for"),
        (['"client.rack" = "a"', '"error_cb" = "SECRET"'], 16, "cannot be set in a file"),
    ],
)
def test_settings_that_librdkafka_rejects(load, settings, line, message):
    """A setting that either client would reject is rejected when the file is read, with the line, without the value."""
    with pytest.raises(WrongUsage, match=re.escape(message)) as caught:
        load("\n".join([f"{FILE}[kafka.librdkafka]", *settings]))
    assert f"consumer.toml, line {line}: librdkafka rejects the settings: " in str(caught.value)
    assert [] == [value for value in ("SECRET", "SEC\n", "RET", "-7777") if value in str(caught.value)]


def test_reading_a_file_connects_to_nothing(load, capfd):
    """Reading a file contacts no broker or token endpoint and needs no certificates, and librdkafka prints nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0.5)
        port = silent.getsockname()[1]
        settings = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": "a",
            "sasl.oauthbearer.client.secret": "b",
            "sasl.oauthbearer.token.endpoint.url": f"http://127.0.0.1:{port}/",
            "ssl.ca.location": "/nowhere",
            "plugin.library.paths": "nowhere",
        }
        lines = "".join(f'"{name}" = "{value}"\n' for name, value in settings.items())
        for section in (lines, '"security.protocol" = "ssl"\n"ssl.ca.location" = "/nowhere"\n', ""):
            load(FILE.replace("localhost:9092", f"127.0.0.1:{port}") + f"[kafka.librdkafka]\n{section}")
        with pytest.raises(TimeoutError):
            silent.accept()
    assert ("", "") == capfd.readouterr()


def test_a_file_is_read_without_the_extra(load, monkeypatch):
    """Without the Kafka client a file can still be checked, except for what only the client knows."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    assert {"retries": "0"} == load(f"{FILE}[kafka.librdkafka]\nretries = 0\n").kafka.librdkafka


def test_secrets_are_not_in_errors(load):
    """An error about a variable does not contain its value."""
    with pytest.raises(WrongUsage) as caught:
        load(FILE.replace('"g"', '"g"\nstart = "${SECRET}"'), SECRET="hunter2")  # noqa: S106 - the value that must not appear
    assert "hunter2" not in str(caught.value)


def test_a_missing_file(tmp_path):
    """A file that cannot be read is wrong usage; the message says why."""
    with pytest.raises(WrongUsage, match="cannot be read: No such file"):
        read(tmp_path / "none.toml", {})


def test_settings_of_each_client(load):
    """Whatever is passed on, the consumer commits nothing by itself, and the producer waits for all replicas."""
    config = load(f'{FILE}[kafka.librdkafka]\n"session.timeout.ms" = 6000\n"ssl.ca.location" = "/ca"\n')
    consumer = librdkafka.consumer_settings(config.kafka)
    producer = librdkafka.producer_settings(config.kafka, config.dlq)

    assert ("false", "false", "6000") == tuple(
        consumer[name] for name in ("enable.auto.commit", "enable.auto.offset.store", "session.timeout.ms")
    )
    assert ("all", "true", "30000") == tuple(
        producer[name] for name in ("acks", "enable.idempotence", "delivery.timeout.ms")
    )
    assert ("/ca", "/ca") == (consumer["ssl.ca.location"], producer["ssl.ca.location"])
    assert "session.timeout.ms" not in producer
    assert "group.instance.id" not in consumer


def test_static_membership_and_start():
    """``instance_id`` makes a static member, and ``start`` becomes librdkafka's offset reset."""
    kafka = KafkaSettings(brokers="b:1", group="g", topics=("t",), start="error", instance_id="one")
    settings = librdkafka.consumer_settings(kafka)
    assert ("one", "error") == (settings["group.instance.id"], settings["auto.offset.reset"])
