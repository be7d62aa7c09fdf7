"""The stack's files are valid for Docker and its commands exist; no container is started here."""

import fnmatch
import json
import re
import shlex
import subprocess
import tomllib

from dupe_audit.cli import main
from stack import BIN, CONSUMERS, DEPLOY, PASSWORDS, ROOT, compose


def test_passwords_have_to_be_set():
    """Without passwords the stack does not start, and the message names each of them and the file to set it in."""
    message = compose("config", "--quiet", code=1).stderr

    assert set(PASSWORDS) == set(re.findall(r"variable (\w+) is missing a value: set it in deploy/\.env", message))


def test_every_variable_is_in_the_example():
    """The example has exactly the stack's variables, those with a default as comments, and contains no password."""
    variables = compose("--profile", "*", "config", "--variables").stdout.splitlines()[1:]
    defaults = {words[0]: words[2] if len(words) > 2 else None for words in map(str.split, variables)}
    example = re.findall(r"^(#?)(\w+)=(.*)$", (DEPLOY / ".env.example").read_text(), flags=re.MULTILINE)

    assert defaults == {name: value or None for _, name, value in example}
    assert {name for comment, name, _ in example if not comment} == set(PASSWORDS)


def test_no_file_contains_a_password():
    """Every password comes from a variable, and no URL and no command line contains one."""
    stack = compose("config", "--no-interpolate", "--format", "json", **PASSWORDS).stdout
    services = json.loads(stack)["services"]
    passwords = {
        name: value
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if "PASS" in name
    }

    assert {*PASSWORDS, "PGPASSWORD"} == set(passwords)
    assert [] == [value for value in passwords.values() if not re.fullmatch(r"\$\{\w+_PASSWORD:\?.*\}", value)]
    assert [] == re.findall(r"://\w+:\w*@", stack)


def test_services_start_in_the_right_order(services):
    """Consumers wait for the topics job and the migration to succeed, and both jobs for a healthy server."""
    waits = {
        name: {
            other: dependency["condition"].removeprefix("service_")
            for other, dependency in service.get("depends_on", {}).items()
        }
        for name, service in services.items()
    }
    servers = {"postgres": "healthy", "kafka": "healthy"}
    jobs = {"topics": "completed_successfully", "migrate": "completed_successfully"}

    assert {
        "postgres": {},
        "kafka": {},
        "prometheus": {},
        "topics": {"kafka": "healthy"},
        "migrate": {"postgres": "healthy"},
        **dict.fromkeys(CONSUMERS, servers | jobs),
    } == waits
    assert [] == [name for name in servers if not services[name]["healthcheck"].get("test")]
    # Compose waits for a job's final exit, which a job that restarts never reaches.
    assert {"no"} == {services[name]["restart"] for name in jobs}


def test_every_service_is_bounded(services):
    """Each service has limits, a bounded log and a restart policy, and publishes its ports on localhost only."""
    for name, service in services.items():
        assert {"cpus", "memory"} == set(service["deploy"]["resources"]["limits"]), name
        assert {"max-size", "max-file"} == set(service["logging"]["options"]), name
        assert service["restart"] == ("no" if name in {"topics", "migrate"} else "unless-stopped")
        assert {"127.0.0.1"} >= {port.get("host_ip") for port in service.get("ports", [])}, name
        assert name in {"topics", "prometheus"} or service["stop_grace_period"]


def test_consumers_have_a_command_and_a_file(services):
    """Each consumer executes an existing command with a file whose group is its name and whose variables are set."""
    for name, file in CONSUMERS.items():
        program, *arguments = services[name]["command"]
        assert "dupe-audit" == program
        with main.make_context(program, list(arguments)) as context:
            assert "consume" == main.resolve_command(context, [*context._protected_args, *context.args])[0]
        assert f"consumers/{file}.toml" == arguments[1]
        used = set(re.findall(r"\$\{(\w+)\}", (DEPLOY / arguments[1]).read_text()))
        of_the_image = set(re.findall(r"^ +(\w+)=", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE))
        assert set() == used - of_the_image - services[name]["environment"].keys()
        assert name == tomllib.loads((DEPLOY / arguments[1]).read_text())["kafka"]["group"]


def test_topics_job_creates_the_consumers_topics(services):
    """The topics job creates the topics that the consumers read and their dead-letter topics."""
    (script,) = services["topics"]["command"][2:]
    made = set(shlex.split(re.search(r"for topic in (.*); do", script)[1]))
    files = [tomllib.loads((DEPLOY / "consumers" / f"{name}.toml").read_text()) for name in CONSUMERS.values()]

    assert made == {topic for file in files for topic in file["kafka"]["topics"]}
    assert '"$topic-dlq"' in script


def test_dockerfile_passes_hadolint():
    """The linter hadolint reports nothing for the Dockerfile."""
    done = subprocess.run([BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stdout)


def copied() -> list[str]:
    """Return the paths that the Dockerfile copies from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.*)$", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def test_image_can_copy_its_sources_and_no_secrets():
    """Every source of a COPY exists and is allowed by .dockerignore, and secrets next to them are not."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    patterns = [line.removeprefix("!") for line in lines if line.startswith("!")]

    assert "*" in lines
    assert sorted(set(copied())) == sorted(patterns)
    assert [] == [source for source in copied() if not (ROOT / source).exists()]
    assert [] == [
        secret
        for secret in ("deploy/.env", ".env", ".git")
        if any(fnmatch.fnmatch(secret, pattern) for pattern in patterns)
    ]


def test_image_does_not_run_as_root(services):
    """The image runs as a numeric account that is not root, and exposes the port that the stack publishes."""
    text = (DEPLOY / "Dockerfile").read_text()

    assert ["10001:10001"] == re.findall(r"^USER (.*)$", text, flags=re.MULTILINE)
    (port,) = re.findall(r"^EXPOSE (\d+)$", text, flags=re.MULTILINE)
    assert f"HTTP_PORT={port}" in text
    assert {int(port)} == {port["target"] for name in CONSUMERS for port in services[name]["ports"]}
