"""Samples of divergent groups as people read them: on a terminal, in Markdown and in a file of their own."""

import csv
import json
import os
import pty
import re
import stat
import subprocess
import sys

import pytest

from waiting import PATIENCE

ROWS = """
CREATE TABLE orders (id int PRIMARY KEY, reference text, status text, note text, "=cmd|x" text, seen_at timestamptz);
INSERT INTO orders VALUES
    (1, 'A-1', 'paid', NULL, '=1+1', '2026-01-01 10:00+00'),
    (2, 'A-1', 'open', '', '-5', '2026-01-02 10:00+00'),
    (3, 'A-1', 'paid', E'a|b \\x1b[31mred `x`', '@SUM(1)', '2026-01-03 10:00+00'),
    (4, 'A-1', 'paid', 'NULL', repeat('long ', 60), '2026-01-04 10:00+00'),
    (5, 'B-2', 'paid', 'secret', 'same', '2026-01-01 10:00+00'),
    (6, 'B-2', 'paid', 'secret', 'same', '2026-01-01 10:00+00')
"""
OPTIONS = ("preflight", "--table", "orders", "-c", "reference")


@pytest.fixture
def orders(sql):
    """A table with a divergent group of four rows, whose values are hard to show, and an exact group."""
    sql(ROWS)


@pytest.mark.thorough
def test_samples_fit_a_terminal_and_mark_what_differs(orders, environment):
    """On a terminal of 80 columns, lines fit, the survivor comes first, and values that differ from it are marked."""
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "dupe_audit.cli", *OPTIONS, "--samples", "1", "--show-keys"]
    shape = {"COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(
        command, stdout=terminal, stderr=subprocess.PIPE, env={**environment, **shape}, text=True
    ) as process:
        os.close(terminal)
        output = b""
        while chunk := _read(keyboard):
            output += chunk
        process.communicate(timeout=PATIENCE)
    os.close(keyboard)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", output.decode()).replace("\r", "").split("\n")
    first = next(number for number, line in enumerate(lines) if line.startswith("  sample 1"))
    last = next(number for number, line in enumerate(lines) if line.startswith("  error"))
    group = lines[first:last]
    assert [] == [line for line in group if len(line) > 80]
    assert "\x1b" not in "".join(group)
    words = [" ".join(line.split()) for line in group]
    assert 3 == words.count("survives leaves")  # it is repeated beside each row that would leave
    for line in ("id 1 2", "status paid ≠ open", "note NULL ≠ ''", "status paid = paid", "note NULL ≠ 'NULL'"):
        assert line in words
    assert "note NULL ≠ E'a|b \\x1b[31mred" in " ".join(words)


def _read(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""


def test_samples_in_markdown(orders, dupe_audit):
    """In Markdown each sample is a table whose values are code, so that none of them is markup or ends a cell."""
    output = dupe_audit(*OPTIONS, "--samples", "1", "--show-keys", "--format", "markdown", code=1).stdout
    lines = output.split("\n")
    title = "#### Sample 1: 4 rows, key `(A-1)`; differs in `status`, `note`, `=cmd|x`, `seen_at`"
    table = lines[lines.index(title) + 2 :]
    assert "| column | **survives** | leaves | leaves | leaves |" == table[0]
    assert "| `id` | `1` | `2` | `3` | `4` |" == table[2]
    assert "| `status` | `paid` | **≠** `open` | `paid` | `paid` |" == table[3]
    assert "| `note` | `NULL` | **≠** `''` | **≠** ``E'a\\|b \\x1b[31mred `x`'`` | **≠** `'NULL'` |" == table[4]
    assert "long long" in table[5]
    assert table[5].endswith("…` |")


def test_samples_without_values(orders, dupe_audit):
    """Without --show-keys no value is printed in any format: the columns and the marks say where rows differ."""
    for style in ("text", "markdown", "json"):
        output = dupe_audit(*OPTIONS, "--samples", "2", "--format", style, code=1).stdout
        assert [] == [value for value in ("A-1", "paid", "secret", "2026-") if value in output]
    text = dupe_audit(*OPTIONS, "--samples", "1", code=1).stdout
    assert "status ≠ = =" in " ".join(text.split())


def test_samples_in_a_csv_file(orders, dupe_audit, tmp_path):
    """The file is private, tells NULL from an empty text, and has nothing that a spreadsheet would compute."""
    file = tmp_path / "samples.csv"
    done = dupe_audit(*OPTIONS, "--show-keys", "--samples-to", str(file), code=1)
    assert f"Wrote 1 sample to {file}." in done.stderr
    assert "sample 1" not in done.stdout
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    lines = file.read_text().splitlines()
    assert (
        '"table","key","sample","key_value","group_rows","row","differs","id","status","note","\'=cmd|x","seen_at"'
        == lines[0]
    )
    assert ',"1","paid",NULL,"\'=1+1",' in lines[1]
    assert ',"2","open","","-5",' in lines[2]
    rows = list(csv.DictReader(lines))
    assert ["survives", "leaves", "leaves", "leaves"] == [row["row"] for row in rows]
    assert ("status, note, =cmd|x, seen_at", "'@SUM(1)") == (rows[1]["differs"], rows[2]["'=cmd|x"])
    assert "E'a|b \\x1b[31mred `x`'" == rows[2]["note"]
    assert "(A-1)" == rows[0]["key_value"]


@pytest.mark.parametrize("suffix", ["json", "md", "txt"])
@pytest.mark.representatives("md")
def test_samples_in_other_files(orders, dupe_audit, tmp_path, suffix):
    """The suffix of the file names its format."""
    file = tmp_path / f"samples.{suffix}"
    dupe_audit(*OPTIONS, "--samples", "1", "--samples-to", str(file), code=1)
    content = file.read_text()
    if suffix == "json":
        written = json.loads(content)
        assert ("orders", 1, "1") == (
            written["table"],
            len(written["samples"]),
            written["samples"][0]["survivor"]["identity"]["id"],
        )
    else:
        assert "ample 1: 4 rows; differs in" in content


def test_a_file_is_never_overwritten(orders, dupe_audit, tmp_path):
    """A file or link that exists, an unknown suffix and a missing directory are refused before anything is counted."""
    taken, link = tmp_path / "taken.csv", tmp_path / "link.csv"
    taken.write_text("mine")
    link.symlink_to(tmp_path / "nowhere.csv")
    for file, says in (
        (taken, "exists and was not overwritten"),
        (link, "exists and was not overwritten"),
        (tmp_path / "samples.xlsx", "The format of"),
        (tmp_path / "none" / "samples.csv", "does not exist"),
    ):
        done = dupe_audit(*OPTIONS, "--samples-to", str(file), code=2)
        assert says in done.stderr
        assert "database" not in done.stderr
    assert "mine" == taken.read_text()
    assert not (tmp_path / "nowhere.csv").exists()
