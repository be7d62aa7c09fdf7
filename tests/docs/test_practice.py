"""What CI systems and pre-commit read from this repository and its pages is valid by their own schemas."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from pre_commit.clientlib import load_config, load_manifest

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
MANIFEST = ROOT / ".pre-commit-hooks.yaml"
HOWTO = ROOT / "docs" / "howto"

#: what only one of them begins with
KINDS = {"jobs": "vendor.github-workflows", "repos": "pre-commit"}


def shown(kind: str) -> dict[str, str]:
    """Return the YAML of one kind that the how-tos show, by a name for its file."""
    commands = {}
    for page in sorted(HOWTO.glob("*.md")):
        for number, block in enumerate(page.read_text().split("```yaml\n")[1:]):
            text = block.split("```")[0]
            keys = yaml.safe_load(text)
            if kind == next((KINDS[key] for key in KINDS if key in keys), "vendor.gitlab-ci"):
                commands[f"{page.stem}-{number}.yml"] = text
    return commands


@pytest.mark.parametrize("kind", ["vendor.github-workflows", "vendor.gitlab-ci"])
def test_jobs_are_valid(tmp_path, kind):
    """The workflows of this repository, and the jobs in the how-tos, are valid by the schemas of GitHub and GitLab."""
    files = [*WORKFLOWS.glob("*.yml")] if kind == "vendor.github-workflows" else []
    for name, text in shown(kind).items():
        files.append(tmp_path / name)
        files[-1].write_text(text)
    assert files != []
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", kind, *map(str, files)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_the_hook_is_valid():
    """The hook that this repository offers is valid for pre-commit, and brings what the extra for its server has."""
    (hook,) = load_manifest(MANIFEST)
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert ("python", False) == (hook["language"], hook["pass_filenames"])
    assert set(extras["embedded"]) <= set(hook["additional_dependencies"])


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("alembic/versions/015_unique.py", True),
        ("versions/1.py", True),
        ("alembic/env.py", False),
        ("versions/notes.txt", False),
        ("src/conversions/1.py", False),
    ],
)
def test_the_hook_runs_when_a_revision_changes(file, wanted):
    """A change under a versions directory runs the hook, and no other change does."""
    (hook,) = load_manifest(MANIFEST)
    assert wanted is bool(re.search(hook["files"], file))


def test_configurations_for_the_hook_are_valid(tmp_path):
    """What the how-to tells to write into .pre-commit-config.yaml is valid for pre-commit, and names our hook."""
    configs = shown("pre-commit")
    assert 2 == len(configs)
    for text in configs.values():
        file = tmp_path / ".pre-commit-config.yaml"
        file.write_text(text)
        (repository,) = load_config(file)["repos"]
        assert [hook["id"] for hook in load_manifest(MANIFEST)] == [one["id"] for one in repository["hooks"]]
