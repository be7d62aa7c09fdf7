"""The consumer as an operator runs it, on the reference project."""

import re
import signal
import uuid

import pytest

pytest.importorskip("confluent_kafka", reason="needs the extra kafka")

from kafka import ROOT, Program, broker, url  # noqa: F401 - fixtures

CONSTRAINT = "unique_action_per_correlation_timestamp"
KEYS = "SELECT count(*), count(DISTINCT (correlation_id, action_name, created_at)) FROM agent_actions"


def action(number: int) -> dict[str, object]:
    """Return an agent's event as its producer sends it."""
    return {
        "correlation_id": str(uuid.UUID(int=number)),
        "agent_name": "agent",
        "action_type": "tool_call",
        "action_name": "Read",
        "action_details": {"file": "a.py", "ratio": 0.10},
        "debug_mode": True,
        "duration_ms": 12,
        "timestamp": "2026-01-31T12:00:00.123456Z",
        "from_a_newer_producer": 1,
    }


@pytest.fixture
def file(broker, tmp_path):  # noqa: F811 - the fixture
    """The configuration file of the reference, with the test's broker and topic."""
    shown = re.search(r"```toml\n(.*?)```", (ROOT / "docs/reference/consumer-config.md").read_text(), re.DOTALL)[1]
    topic = broker.topic()
    broker.topic(1, f"{topic}-dlq")
    text = shown.replace("localhost:9092", broker.address).replace('["agent-actions"]', f'["{topic}"]')
    path = tmp_path / f"{topic}.toml"
    # A member that is thrown out because its machine is slow reads some events again.
    settings = '"session.timeout.ms" = 4000\n"heartbeat.interval.ms" = 200\n"fetch.wait.max.ms" = 50\n'
    text = text.replace('"agent-consumer"', f'"{topic}"')
    path.write_text(f'{text}[kafka.librdkafka]\n{settings}[http]\nport = "${{HTTP_PORT}}"\n')
    return path


@pytest.fixture
def consume(url, file, launcher, monkeypatch):  # noqa: F811 - the fixture
    """Run ``dupe-audit consume`` on the file."""
    monkeypatch.setenv("HTTP_PORT", "0")
    programs = []

    def start(*arguments: str) -> Program:
        programs.append(Program(launcher, file, url, *arguments))
        return programs[-1]

    yield start
    for program in programs:
        program.end()


@pytest.mark.thorough
def test_consumer_runs_through_upgrade_and_downgrade(broker, file, consume, alembic, dupe_audit, sql):  # noqa: F811
    """A consumer keeps running through upgrade and downgrade, and prevents duplicates while the constraint exists."""
    topic = file.stem
    alembic("upgrade", "014")
    program = consume().started()
    assert (503, "no valid constraint keeps the key unique, and rollout is false\n") == program.get("/readyz")
    broker.produce(topic, [action(n) for n in range(40)])
    program.wait(lambda: broker.committed(topic, topic) == 40)
    columns = "correlation_id, agent_name, action_type, action_name, action_details, duration_ms, created_at"
    sql(f"INSERT INTO agent_actions ({columns}) SELECT {columns} FROM agent_actions LIMIT 15")  # an older writer
    alembic("upgrade", "015")
    assert [(40, 40)] == sql(KEYS)

    broker.produce(topic, [action(n) for n in range(20, 60)] + [b"not JSON"])
    program.wait(lambda: broker.committed(topic, topic) == 81)
    again = []

    def is_ready():
        # An idle consumer checks the table every few seconds; one that writes checks it within a second.
        again.append(action(0))
        broker.produce(topic, again[-1:])
        return program.get("/readyz") == (200, "ok\n")

    program.wait(is_ready)
    program.wait(lambda: broker.committed(topic, topic) == 81 + len(again))
    assert [(60, 60)] == sql(KEYS)
    prevented = ("duplicates_total", "in_batch_duplicates_total")
    program.wait(lambda: sum(map(program.metric, prevented)) == 20 + len(again))
    dupe_audit("verify", "--table", "agent_actions", "--name", CONSTRAINT)

    alembic("downgrade", "014")
    broker.produce(topic, [action(n) for n in range(60, 70)])
    program.wait(lambda: broker.committed(topic, topic) == 91 + len(again))
    assert "UniqueViolation" not in program.stop()
    assert [70] == [sql(KEYS)[0][1]]

    alembic("upgrade", "015")
    replay = consume("--replay-dlq")
    replay.ended(1)
    assert [(1, 1)] == [(line["read"], line["rejected"]) for line in replay.events("replayed")]


def test_check_option_connects_to_nothing(dupe_audit, file, tmp_path, environment):
    """With --check, mistakes in the file are reported with their line, without any connection."""
    environment |= {"DATABASE_URL": "postgresql://nowhere.invalid/x", "HTTP_PORT": "0"}
    assert "agent_actions (correlation_id" in dupe_audit("consume", str(file), "--check").stdout

    file.write_text(file.read_text().replace("[http]", "[htpp]"))
    done = dupe_audit("consume", str(file), "--check", code=2)
    assert "Did you mean 'http'?" in done.stderr
    assert re.search(r"toml, line \d+: ", done.stderr)
    del environment["HTTP_PORT"]
    assert "HTTP_PORT is not set" in dupe_audit("consume", str(file), "--check", code=2).stderr


def test_ctrl_c_ends_an_idle_consumer(broker, file, consume, alembic):  # noqa: F811
    """Ctrl-C ends an idle consumer at once, with 130 and without a traceback."""
    alembic("upgrade", "014")
    program = consume().started()
    assert "Error" not in program.stop(signal.SIGINT, 130)
