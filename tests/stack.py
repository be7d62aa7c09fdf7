"""The stack of deploy/ without containers: its file as Docker Compose resolves it, and its commands as processes."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from dupe_audit.embedded import Server
from waiting import PATIENCE

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
PASSWORDS = {"POSTGRES_PASSWORD": "unused", "MIGRATOR_PASSWORD": "m $1:@/'\"", "WRITER_PASSWORD": "w%40 \\x"}
CONSUMERS = {
    "agent-consumer": "agent-actions",
    "router-consumer": "routing-decisions",
    "intelligence-consumer": "manifest-injections",
}
SERVER_HOST = "@postgres:5432/agents"

#: an action, and different decisions with the same key; a FROM clause is added to repeat them
ACTION = (
    "INSERT INTO agent_actions (correlation_id, agent_name, action_type, action_name, created_at) "
    "SELECT md5('')::uuid, 'coder', 'error', 'Read', '2026-01-01'"
)
DECISION = (
    "INSERT INTO agent_routing_decisions (correlation_id, user_request, selected_agent, confidence_score, "
    "routing_strategy, routing_time_ms, created_at) "
    "SELECT md5('')::uuid, 'request ' || n, 'coder', 1, 'fuzzy', 0, '2026-01-01'"
)


def compose(*arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Docker Compose's own program on the stack; return the process."""
    command = [BIN / "docker-compose", "--file", DEPLOY / "compose.yaml", "--env-file", os.devnull, *arguments]
    environment = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert code == done.returncode, done.stderr
    return done


@pytest.fixture(scope="session")
def services() -> dict[str, dict]:
    """The services of the stack, as Docker Compose resolves them."""
    done = compose("--profile", "*", "config", "--format", "json", **PASSWORDS)
    assert "" == done.stderr
    return json.loads(done.stdout.replace("$$", "$"))["services"]


@pytest.fixture(scope="session")
def app(tmp_path_factory) -> Path:
    """A directory with the contents of the image's /app, copied as the Dockerfile says."""
    home = tmp_path_factory.mktemp("app")
    last = (DEPLOY / "Dockerfile").read_text().split("\nFROM ")[-1]
    for source, target in re.findall(r"^COPY (\S+) (\S+)$", last, flags=re.MULTILINE):
        into = home / (target if target != "./" else Path(source).name)
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, into)
    for file in (home / "consumers").glob("*.toml"):
        # The tests' broker lets a member join only after half of this time; the default of a cluster is 45 s.
        settings = '"session.timeout.ms" = 4000\n"heartbeat.interval.ms" = 200\n"fetch.wait.max.ms" = 50\n'
        file.write_text(f"{file.read_text()}\n[kafka.librdkafka]\n{settings}")
    return home


@pytest.fixture(scope="session")
def cluster(pg_bin, services) -> Iterator[Server]:
    """A new PostgreSQL, initialized as in its container, in which the two roles need a password."""
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
    """A process and the file with its output."""

    process: subprocess.Popen[bytes]
    log: Path

    def ended(self, code: int) -> str:
        """Wait until it ends with this exit code; return its output."""
        self.process.wait(PATIENCE)
        printed = self.log.read_text()
        assert code == self.process.returncode, printed
        return printed

    def stopped(self) -> str:
        """Stop it as a container is stopped; return its output."""
        self.process.terminate()
        return self.ended(0)


Run = Callable[..., Started]


@pytest.fixture
def start(app, cluster, services, tmp_path) -> Iterator[Run]:
    """Start a service's command, or another one, as its container would, but with the test's servers."""
    running: list[Started] = []

    def run(service: str, *instead: str, **changes: str) -> Started:
        settings = services[service]
        program, *arguments = instead or settings["command"]
        environment = {"PATH": f"{BIN}:{os.defpath}", "LANG": "C.UTF-8", **settings["environment"], **changes}
        elsewhere = f"@/agents?host={cluster._home}&port=5432"
        environment["DATABASE_URL"] = environment["DATABASE_URL"].replace(SERVER_HOST, elsewhere)
        command = [re.sub(r"^/app/", f"{app}/", program), *arguments]
        # A file, because a pipe that is not read fills up and blocks a consumer.
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
    """Execute SQL in the stack's database, which is emptied after the test."""
    with psycopg.connect(cluster.url("agents").replace("+psycopg", ""), autocommit=True) as connection:

        def run(statement: str) -> list:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

        yield run
        connection.execute("DROP SCHEMA IF EXISTS dupe_audit CASCADE")
        for (table,) in run("SELECT quote_ident(tablename) FROM pg_tables WHERE tableowner = 'migrator'"):
            connection.execute(f"DROP TABLE {table} CASCADE")
