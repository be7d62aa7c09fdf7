"""The files for CI systems and pre-commit, in this repository and in its pages, are valid by the official schemas."""

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

#: the top-level key that identifies a kind of file; GitLab's has none
KINDS = {"jobs": "vendor.github-workflows", "repos": "pre-commit"}


def yaml_blocks(kind: str) -> dict[str, str]:
    """Return the YAML blocks of one kind in the how-tos, by a file name for each."""
    files = {}
    for page in sorted(HOWTO.glob("*.md")):
        for number, block in enumerate(page.read_text().split("```yaml\n")[1:]):
            text = block.split("```")[0]
            keys = yaml.safe_load(text)
            if kind == next((KINDS[key] for key in KINDS if key in keys), "vendor.gitlab-ci"):
                files[f"{page.stem}-{number}.yml"] = text
    return files


@pytest.mark.parametrize("kind", ["vendor.github-workflows", "vendor.gitlab-ci"])
def test_jobs_are_valid(tmp_path, kind):
    """The workflows of this repository and the jobs in the how-tos are valid by the schemas of GitHub and GitLab."""
    files = [*WORKFLOWS.glob("*.yml")] if kind == "vendor.github-workflows" else []
    for name, text in yaml_blocks(kind).items():
        files.append(tmp_path / name)
        files[-1].write_text(text)
    assert files != []
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", kind, *map(str, files)]
    completed = subprocess.run(check, capture_output=True, text=True, check=False)
    assert 0 == completed.returncode, completed.stdout + completed.stderr


def test_the_hook_is_valid():
    """The hook of this repository is valid for pre-commit, and installs everything in the extra for its server."""
    (hook,) = load_manifest(MANIFEST)
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert ("python", False) == (hook["language"], hook["pass_filenames"])
    assert set(extras["embedded"]) <= set(hook["additional_dependencies"])


@pytest.mark.parametrize(
    ("file", "runs"),
    [
        ("alembic/versions/015_unique.py", True),
        ("versions/1.py", True),
        ("alembic/env.py", False),
        ("versions/notes.txt", False),
        ("src/conversions/1.py", False),
    ],
)
def test_the_hook_runs_when_a_revision_changes(file, runs):
    """The hook runs if a file of a versions directory changes, and not otherwise."""
    (hook,) = load_manifest(MANIFEST)
    assert runs is bool(re.search(hook["files"], file))


def test_configurations_for_the_hook_are_valid(tmp_path):
    """The examples of .pre-commit-config.yaml in the how-to are valid for pre-commit, and name our hook."""
    configs = yaml_blocks("pre-commit")
    assert 2 == len(configs)
    for text in configs.values():
        file = tmp_path / ".pre-commit-config.yaml"
        file.write_text(text)
        (repository,) = load_config(file)["repos"]
        assert [hook["id"] for hook in load_manifest(MANIFEST)] == [hook["id"] for hook in repository["hooks"]]
