"""The consumer's file: what it says, and what is said about a wrong one."""

import re
import socket
import sys
from pathlib import Path

import pytest

from dupe_audit.consumer import librdkafka
from dupe_audit.consumer.config import Config, KafkaRule
from dupe_audit.consumer.reading import read
from dupe_audit.errors import WrongUsage

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
    """Read a file that is made for the test."""

    def load(text: str, **environment: str) -> Config:
        (tmp_path / "consumer.toml").write_text(text)
        return read(tmp_path / "consumer.toml", environment)

    return load


def test_the_example_of_the_reference_is_read(load):
    """The file that the reference shows gives the key, the columns and the defaults that it documents."""
    shown = re.search(r"```toml\n(.*?)```", REFERENCE.read_text(), re.DOTALL)[1]
    config = load(shown)

    assert ("correlation_id", "action_name", "created_at") == config.table.key.columns
    assert [(False, "{}"), (False, True), (False, None)] == [
        (column.required, column.default) for column in config.columns[4:7]
    ]
    assert ("timestamp",) == config.columns[-1].path
    assert ("agent-actions-dlq", "agent-consumer-replay") == (
        config.dlq.topic_of("agent-actions"),
        config.dlq.replay_group,
    )


def test_every_default_is_as_documented(load):
    """The defaults in the tables of the reference are those of the code."""
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


def test_variables_of_the_environment(load):
    """A variable fills a part of a string, a number, a flag or a list; a doubled dollar is literal."""
    text = FILE.replace('["localhost:9092"]', '"${BROKERS}"').replace('"g"', '"agents-${STAGE}-$${x}"')
    config = load(
        text + '[http]\nport = "${PORT}"\nenabled = "${ON}"\n', BROKERS="a:1, b:2", STAGE="test", PORT="9", ON="false"
    )
    assert ("a:1,b:2", "agents-test-${x}") == (config.kafka.brokers, config.kafka.group)
    assert (9, False) == (config.http.port, config.http.enabled)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ('group = "g"', 'grupo = "g"', 10, "Is 'grupo' meant"),
        ('group = "g"', 'group = "g"\nbroker = 1', 13, "Did you mean 'brokers'?"),
        ('"uuid" }', '"uid" }', 6, "Did you mean 'uuid'?"),
        ('{ type = "uuid" }', '"uuid"', 6, "is a table"),
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
        ('name = "agent_actions"', f'name = "{"x" * 64}"', 1, "63 bytes"),
        ('name = "agent_actions"', "name = 3", 2, "is a string"),
        ('["t"]', "[]", 10, "cannot be empty"),
        ('["t"]', "[1]", 13, "list of strings"),
        ('["t"]', '["^t.*"]', 13, "regular expressions are not taken"),
        ('["t"]', '["t"]\n[dlq]\ntopic = "^{topic}-dlq"', 15, "regular expressions are not taken"),
        ('"localhost:9092"', '"${NOWHERE}"', 11, "NOWHERE is not set"),
        ('group = "g"', "group = g", 12, "not TOML"),
        ('["t"]', '["t"]\n[batch]\nlinger = 200', 15, "duration"),
        ('["t"]', '["t"]\n[batch]\nrows = 0', 15, "from 1 to 10000"),
        ('["t"]', '["t"]\n[breaker]\nshare = 10', 15, "above 0 and up to 1"),
        ('["t"]', '["t"]\n[dlq]\ntopic = "t"', 15, "come from"),
        ('["t"]', '["t"]\n[dlq]\nreplay_group = "g"', 15, "other than"),
        ('["t"]', '["t"]\n[dlq]\ntimeout = "5min"', 15, "max.poll.interval.ms"),
        ('["t"]', '["t"]\n[htpp]\nport = 1', 14, "Did you mean 'http'?"),
        ('["t"]', '["t"]\n[http]\nport = "9464"', 15, "whole number"),
        ('["t"]', '["t"]\nstart = "latst"', 14, "Did you mean 'latest'?"),
        ('["t"]', '["t"]\n[kafka.librdkafka]\nsecurity.protocol = "ssl"', 15, "need quotes"),
        ('["t"]', '["t"]\n[kafka.librdkafka]\n"client.rack" = []', 15, "is a string"),
    ],
)
def test_errors_name_the_line(load, old, new, line, says):
    """Whatever is wrong with the file, the error names the file and the line, and says what is expected."""
    assert old in FILE
    with pytest.raises(WrongUsage, match=re.escape(says)) as caught:
        load(FILE.replace(old, new, 1))
    assert f"consumer.toml, line {line}: " in str(caught.value)


@pytest.mark.parametrize("setting", sorted(librdkafka.REFUSED))
def test_settings_that_break_the_promises_are_refused(load, setting):
    """Settings that would commit what is not written, or that have names of their own, are refused with the reason."""
    with pytest.raises(WrongUsage, match=f"line 15: '{re.escape(setting)}' cannot be set"):
        load(f'{FILE}[kafka.librdkafka]\n"{setting}" = "x"\n')


@pytest.mark.parametrize(
    ("settings", "line", "says"),
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
        (['"client.rack" = "a"', '"error_cb" = "SECRET"'], 16, "cannot be made in a file"),
    ],
)
def test_settings_that_librdkafka_does_not_take(load, settings, line, says):
    """What either client would refuse later is refused when the file is read, with the line and without the value."""
    with pytest.raises(WrongUsage, match=re.escape(says)) as caught:
        load("\n".join([f"{FILE}[kafka.librdkafka]", *settings]))
    assert f"consumer.toml, line {line}: librdkafka does not take the settings: " in str(caught.value)
    assert [] == [value for value in ("SECRET", "SEC\n", "RET", "-7777") if value in str(caught.value)]


def test_reading_a_file_connects_to_nothing(load, capfd):
    """Brokers, a token's endpoint and certificates are left alone when a file is read, and librdkafka says nothing."""
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
        for written in (lines, '"security.protocol" = "ssl"\n"ssl.ca.location" = "/nowhere"\n', ""):
            load(FILE.replace("localhost:9092", f"127.0.0.1:{port}") + f"[kafka.librdkafka]\n{written}")
        with pytest.raises(TimeoutError):
            silent.accept()
    assert ("", "") == capfd.readouterr()


def test_a_file_is_read_without_the_extra(load, monkeypatch):
    """Without the Kafka client a file can be checked all the same, up to what only the client knows."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    assert {"retries": "0"} == load(f"{FILE}[kafka.librdkafka]\nretries = 0\n").kafka.librdkafka


def test_secrets_are_not_in_errors(load):
    """The value of a variable is not in an error about it."""
    with pytest.raises(WrongUsage) as caught:
        load(FILE.replace('"g"', '"g"\nstart = "${SECRET}"'), SECRET="hunter2")  # noqa: S106 - that is what is tested
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    """A file that cannot be read is wrong usage, in words."""
    with pytest.raises(WrongUsage, match="cannot be read: No such file"):
        read(tmp_path / "none.toml", {})


def test_what_each_client_gets(load):
    """The consumer commits nothing by itself, and the producer waits for all replicas, whatever is passed through."""
    config = load(f'{FILE}[kafka.librdkafka]\n"session.timeout.ms" = 6000\n"ssl.ca.location" = "/ca"\n')
    consumer = librdkafka.for_consumer(config.kafka)
    producer = librdkafka.for_producer(config.kafka, config.dlq)

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
    """A name for this process makes a static member, and the start is librdkafka's reset."""
    rule = KafkaRule(brokers="b:1", group="g", topics=("t",), start="error", instance_id="one")
    settings = librdkafka.for_consumer(rule)
    assert ("one", "error") == (settings["group.instance.id"], settings["auto.offset.reset"])
