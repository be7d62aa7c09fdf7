"""The stack's command lines as deploy/compose.yaml has them, as processes on real servers instead of in containers."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from dupe_audit.embedded import Server
from kafka import Broker, wait_for

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
PASSWORDS = {"POSTGRES_PASSWORD": "unused", "MIGRATOR_PASSWORD": "m $1:@/'\"", "WRITER_PASSWORD": "w%40 \\x"}
SERVER_HOST = "@postgres:5432/agents"

pytestmark = pytest.mark.min_pg(15)  # psql reads the environment (\getenv) since then; the stack's own is 17

Services = dict[str, dict]

ACTION = (
    "INSERT INTO agent_actions (correlation_id, agent_name, action_type, action_name, created_at) "
    "SELECT md5('')::uuid, 'coder', 'error', 'Read', '2026-01-01'"
)
DECISION = (
    "INSERT INTO agent_routing_decisions (correlation_id, user_request, selected_agent, confidence_score, "
    "routing_strategy, routing_time_ms, created_at) "
    "SELECT md5('')::uuid, 'request ' || n, 'coder', 1, 'fuzzy', 0, '2026-01-01'"
)


@pytest.fixture(scope="module")
def services() -> Services:
    """The services of the stack, as Docker Compose resolves them."""
    command = [BIN / "docker-compose", "--file", DEPLOY / "compose.yaml", "--env-file", os.devnull]
    done = subprocess.run(
        [*command, "config", "--format", "json"], env=PASSWORDS, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.replace("$$", "$"))["services"]


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Path:
    """A directory with what the image has in /app, laid out by the lines of the Dockerfile."""
    home = tmp_path_factory.mktemp("app")
    last = (DEPLOY / "Dockerfile").read_text().split("\nFROM ")[-1]
    for source, target in re.findall(r"^COPY (\S+) (\S+)$", last, flags=re.MULTILINE):
        into = home / (target if target != "./" else Path(source).name)
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, into)
    for file in (home / "consumers").glob("*.toml"):
        # The tests' broker lets nobody join before half of this has passed, and a cluster's default is 45 s.
        file.write_text(file.read_text() + '\n[kafka.librdkafka]\n"session.timeout.ms" = 6000\n')
    return home


@pytest.fixture(scope="module")
def cluster(pg_bin, services) -> Iterator[Server]:
    """A new PostgreSQL with what its container would have made of itself, in which the two roles need a password."""
    with Server.start(pg_bin, {"fsync": "off"}) as server:
        environment = {**os.environ, **services["postgres"]["environment"]}
        environment |= {"PATH": f"{server.bin_dir}:{os.defpath}", "PGHOST": str(server._home), "PGPORT": "5432"}
        with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("CREATE DATABASE agents")
            subprocess.run([DEPLOY / "postgres" / "10-roles.sh"], env=environment, check=True)
            access = server._home / "data" / "pg_hba.conf"
            access.write_text("local all migrator,writer scram-sha-256\n" + access.read_text())
            connection.execute("SELECT pg_reload_conf()")
        yield server


class Started(NamedTuple):
    """A process, and where what it prints goes."""

    process: subprocess.Popen[bytes]
    log: Path

    def ended(self, code: int) -> str:
        """Wait for its end, which has to be with this exit code; return what it printed."""
        self.process.wait(60)
        said = self.log.read_text()
        assert code == self.process.returncode, said
        return said

    def stopped(self) -> str:
        """Ask it to stop, as a container is stopped; return what it printed."""
        self.process.terminate()
        return self.ended(0)


Run = Callable[..., Started]


@pytest.fixture
def start(app, cluster, services, tmp_path) -> Iterator[Run]:
    """Start a service's command, or another, as its container would; only the servers are elsewhere."""
    running: list[Started] = []

    def run(service: str, *instead: str, **changes: str) -> Started:
        told = services[service]
        program, *arguments = instead or told["command"]
        environment = {"PATH": f"{BIN}:{os.defpath}", "LANG": "C.UTF-8", **told["environment"], **changes}
        elsewhere = f"@/agents?host={cluster._home}&port=5432"
        environment["DATABASE_URL"] = environment["DATABASE_URL"].replace(SERVER_HOST, elsewhere)
        command = [re.sub(r"^/app/", f"{app}/", program), *arguments]
        # A file, because a pipe that nobody reads fills up and stops a consumer.
        log = tmp_path / f"{len(running)}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                command, cwd=app, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        running.append(Started(process, log))
        return running[-1]

    yield run
    for started in running:
        started.process.kill()
        started.process.wait()


@pytest.fixture
def admin(cluster) -> Iterator[Callable[[str], list]]:
    """Run SQL in the stack's database, which is empty again afterwards."""
    with psycopg.connect(cluster.url("agents").replace("+psycopg", ""), autocommit=True) as connection:

        def run(statement: str) -> list:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

        yield run
        connection.execute("DROP SCHEMA IF EXISTS dupe_audit CASCADE")
        for (table,) in run("SELECT quote_ident(tablename) FROM pg_tables WHERE tableowner = 'migrator'"):
            connection.execute(f"DROP TABLE {table} CASCADE")


def test_migrate_job_proves_a_new_database(start, admin, cluster):
    """On a new database the job goes on after preflight's findings, leaves the consumers their part, and runs again."""
    said = start("migrate").ended(0)
    assert 3 == said.count("table-missing"), said
    assert [("018", "migrator")] == admin("SELECT version_num, tableowner FROM alembic_version, pg_tables LIMIT 1")

    may_add_rows_and_nothing_else(cluster)
    assert "No pending revision" in start("migrate").ended(0)


def may_add_rows_and_nothing_else(cluster: Server) -> None:
    """Try what the consumers' role may do and what not, its ledger and its password included."""
    conninfo = f"host={cluster._home} port=5432 dbname=agents user=writer"
    with psycopg.connect(conninfo, password=PASSWORDS["WRITER_PASSWORD"], autocommit=True) as writer:
        assert 1 == writer.execute(ACTION).rowcount
        for statement in (
            "UPDATE agent_actions SET agent_name = 'a'",
            "DELETE FROM agent_actions",
            "SELECT FROM dupe_audit.run",
            "CREATE TABLE mine ()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                writer.execute(statement)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(conninfo, password=PASSWORDS["MIGRATOR_PASSWORD"], connect_timeout=5)


def test_migrate_job_cleans_or_says_why_not(start, admin):
    """Duplicates do not stop the job, divergent ones do with Alembic's exit code, and without them it goes on."""
    start("migrate", "alembic", "upgrade", "014").ended(0)
    admin(f"{ACTION} FROM generate_series(1, 3)")
    assert "2 extras have to leave" in start("migrate").ended(0)
    assert [(1, 2)] == admin("SELECT (SELECT count(*) FROM agent_actions), sum(archived) FROM dupe_audit.run")

    start("migrate", "alembic", "downgrade", "016").ended(0)
    admin(f"{DECISION} FROM generate_series(1, 2) AS n")
    assert "divergent-duplicates" in start("migrate").ended(255)
    assert [("016", 2)] == admin(
        "SELECT version_num, (SELECT count(*) FROM agent_routing_decisions) FROM alembic_version"
    )

    admin("DELETE FROM agent_routing_decisions WHERE user_request = 'request 2'")
    start("migrate").ended(0)


def test_migrate_job_stops_without_a_server(start):
    """Where nothing can be reached, the job ends with preflight's exit code and does not try the upgrade."""
    said = start("migrate", DATABASE_URL="postgresql://migrator@localhost:1/agents").ended(3)

    assert 1 == said.count("Cannot connect")
    assert PASSWORDS["MIGRATOR_PASSWORD"] not in said


@pytest.fixture
def broker(tmp_path, services) -> Iterator[Broker]:
    """A broker with the topics that the topics job makes; the test's own, because the names are the stack's."""
    (script,) = services["topics"]["command"][2:]
    with Broker.start(tmp_path) as running:
        for topic in re.search(r"for topic in (.*); do", script)[1].split():
            for name in (topic, f"{topic}-dlq"):
                running.topic(3, name)
        yield running


def event(name: str, **changes) -> dict:
    return json.loads((DEPLOY / "events" / f"{name}.json").read_text()) | changes


@pytest.fixture
def start_consumers(start, broker):
    """Start consumers, all three unless some are named; returns each with the port of its metrics."""

    def run(*names: str, **changes: str) -> dict[str, tuple[Started, int]]:
        running = {}
        for name in names or ("agent-consumer", "router-consumer", "intelligence-consumer"):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            places = {"KAFKA_BROKERS": broker.address, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port)}
            running[name] = start(name, **places, **changes), port
        return running

    return run


def page(port: int) -> str:
    """Return a consumer's metrics as it serves them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return answer.read().decode()


def metric(port: int, name: str) -> float:
    """Return the sum of a metric's samples."""
    lines = [line for line in page(port).splitlines() if re.match(rf"dupe_audit_consumer_{re.escape(name)}[ {{]", line)]
    return sum(float(line.split()[-1]) for line in lines)


def health(port: int) -> int:
    """Run the image's health check; returns its exit code."""
    told = (DEPLOY / "Dockerfile").read_text()
    command = json.loads(re.search(r"HEALTHCHECK .*\n +CMD (\[.*\])$", told, flags=re.MULTILINE)[1])
    environment = {"PATH": f"{BIN}:{os.defpath}", "HTTP_PORT": str(port)}
    return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode


TABLES = ("agent_actions", "agent_routing_decisions", "agent_manifest_injections")
ROWS = "SELECT " + ", ".join(f"(SELECT count(*)::int FROM {table})" for table in TABLES)


LATE = "22222222-2222-2222-2222-222222222222"


@pytest.mark.slow
def test_events_become_rows_once(start, admin, broker, start_consumers):
    """Each event is a row once, one before its parent is replayed, metrics are those asked for, and a stop is clean."""
    start("migrate").ended(0)
    consumers = start_consumers()
    broker.produce("agent-actions", [event("agent-actions")] * 2 + [b"no JSON"])
    broker.produce("agent-routing-decisions", [event("routing-decisions")] * 2)
    wait_for(lambda: [(1, 1, 0)] == admin(ROWS))
    early = event("manifest-injections", agent_name="tester", routing_decision_id=LATE)
    broker.produce("agent-manifest-injections", [event("manifest-injections")] * 2 + [early])
    wait_for(lambda: [(1, 1, 1)] == admin(ROWS))

    for _, port in consumers.values():
        wait_for(lambda port=port: metric(port, "duplicates_total") + metric(port, "in_batch_duplicates_total") == 1)
        wait_for(lambda port=port: metric(port, "ready"))
        assert (0, 1) == (health(port), metric(port, 'arbiter{mode="named"}'))
        assert set() == asked() - set(re.findall(r"^# TYPE (\w+)", page(port), flags=re.MULTILINE))
    wait_for(lambda: [metric(port, "dlq_messages_total") for _, port in consumers.values()] == [1, 0, 1])

    broker.produce("agent-routing-decisions", [event("routing-decisions", id=LATE, selected_agent="tester")])
    wait_for(lambda: [(1, 2, 1)] == admin(ROWS))
    replay = ("dupe-audit", "consume", "consumers/manifest-injections.toml", "--replay-dlq")
    places = {"KAFKA_BROKERS": broker.address, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0"}
    start("intelligence-consumer", *replay, **places).ended(0)
    assert [(1, 2, 2)] == admin(ROWS)

    for consumer, port in consumers.values():
        said = consumer.stopped()
        assert 1 == health(port)
        assert [] == [password for password in PASSWORDS.values() if password in said]


def asked() -> set[str]:
    """Return the metrics of the alert rules and of the dashboard."""
    files = [(DEPLOY / "monitoring" / name).read_text() for name in ("alerts.yml", "dashboard.json")]
    named = re.findall(r"dupe_audit_consumer_\w+", "".join(files))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}


@pytest.fixture
def traffic(broker) -> Iterator[Callable[[], int]]:
    """Send new actions, each twice, until the returned function is called; it returns how many they were."""
    done, sent = threading.Event(), []

    def run():
        while not done.wait(0.05):
            one = event("agent-actions", correlation_id=str(uuid.uuid4()))
            broker.produce("agent-actions", [one, one])
            sent.append(one)

    thread = threading.Thread(target=run)
    thread.start()

    def stop():
        done.set()
        thread.join()
        return len(sent)

    yield stop
    stop()


@pytest.mark.slow
def test_constraint_comes_and_goes_under_a_running_consumer(start, admin, broker, start_consumers, traffic):
    """Rolled out and back under events, the consumer names the constraint while it is there and loses no event."""
    start("migrate", "alembic", "upgrade", "014").ended(0)
    admin(f"{ACTION} FROM generate_series(1, 300)")
    ((consumer, port),) = start_consumers("agent-consumer", ROLLOUT="true").values()

    def arbiter_is(mode):
        with contextlib.suppress(OSError):  # it serves nothing before it has started
            return metric(port, f'arbiter{{mode="{mode}"}}')

    wait_for(lambda: arbiter_is("any") and metric(port, "inserted_total"))
    for command, mode in (((), "named"), (("alembic", "downgrade", "014"), "any")):
        start("migrate", *command).ended(0)
        wait_for(lambda mode=mode: arbiter_is(mode))
    sent = traffic()

    wait_for(lambda: 2 * sent == sum(metric(port, f"{what}_total") for what in SETTLED))
    assert 0 == metric(port, "rejected_total")
    # Those that came in before and after the constraint are among the rows, those that left for it are back.
    assert [(1 + sent, 300 + metric(port, "inserted_total"))] == admin(
        "SELECT count(DISTINCT correlation_id), count(*) FROM agent_actions"
    )
    consumer.stopped()


#: what becomes of an event that is written
SETTLED = ("inserted", "duplicates", "in_batch_duplicates", "collisions")
