"""Sizes and text as they are printed: on a terminal of 80 columns, and in a pipe."""

import io

import pytest

from dupe_audit import render
from dupe_audit.findings import finding
from dupe_audit.layout import plain
from dupe_audit.model import Counts, DuplicateReport, Run, UniqueKey
from dupe_audit.render import size

RUN = Run(
    **{
        **dict.fromkeys(Run.__slots__),
        "id": 12,
        "relation": "public.manifest_injections",
        "schema_name": "public",
        "table_name": "manifest_injections",
        "key_columns": ("correlation_id", "manifest_name", "injected_at"),
        "state": "enforced",
        "archived": 1_204_005,
        "restored": 0,
        "archive_bytes": 345_678_901,
        "started_at": "2026-11-26 21:00:01.123+00",
        "revision": "018",
    }
)


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self):
        """Return that it is one."""
        return True


@pytest.fixture
def narrow(monkeypatch):
    """A terminal of 80 columns without colours."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    return Terminal()


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (0, "0 B"), (1023, "1,023 B"), (34222, "33.4 kB"), (5 * 1024**4, "5,120.0 GB")]
)
def test_sizes(count, text):
    """Bytes are printed in the largest unit up to GB."""
    assert text == size(count)


def test_text_cannot_control_the_terminal():
    """Control characters and lone surrogates are replaced."""
    assert "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}" == plain("a\x1b[2J\ud800")


def test_runs_fit_a_terminal_of_80_columns(narrow):
    """On a narrow terminal a run takes a few lines, each with whole words and none cut."""
    render.runs([RUN], "text", narrow)
    assert narrow.getvalue() == (
        "run 12  enforced  public.manifest_injections (correlation_id, manifest_name,\n"
        "        injected_at)\n"
        "        1,204,005 archived, 0 restored, archive 329.7 MB; began 2026-11-26\n"
        "        21:00:01, revision 018\n"
    )


def test_runs_in_a_pipe_are_one_line_each():
    """In a pipe each run is one line under its header, without frames, colours or trailing blanks."""
    file = io.StringIO()
    render.runs([RUN, RUN], "text", file)
    header, *lines = file.getvalue().splitlines()
    assert header.split() == ["run", "table", "key", "state", "archived", "restored", "archive", "started", "revision"]
    key = "public.manifest_injections  correlation_id, manifest_name, injected_at"
    assert lines == [f" 12  {key}  enforced  1,204,005         0  329.7 MB  2026-11-26 21:00:01  018"] * 2


REPORT = DuplicateReport(
    key=UniqueKey(table="t", columns=("k",)),
    counts=Counts(**dict.fromkeys(Counts.__slots__, 0)),
    findings=(finding("duplicates", "60 extras in 60 groups"), finding("amcheck-missing")),
)


def test_findings_hang_on_a_terminal(narrow):
    """On a terminal the lines of a finding after the first are indented, and none is longer than the terminal."""
    render.preflight([REPORT], "text", narrow)
    lines = narrow.getvalue().splitlines()
    start = lines.index("  warning [duplicates] 60 extras in 60 groups.")
    assert lines[start + 1 : start + 5] == [
        "    Let the upgrade archive the extras before it adds the constraint:",
        "    op.archive_duplicates(…). Nothing is lost; the downgrade restores them.",
        "  info [amcheck-missing] The extension amcheck is not installed, or this role",
        "    may not use it; the index was judged by the catalog and a count alone.",
    ]
    assert max(map(len, lines)) <= 80


def test_findings_in_a_pipe_are_not_wrapped():
    """In a pipe a message is one line, however long, and no line ends with a blank."""
    file = io.StringIO()
    render.preflight([REPORT], "text", file)
    lines = file.getvalue().splitlines()
    message, help_ = REPORT.findings[1].message, REPORT.findings[1].help
    assert f"  info [amcheck-missing] {message}" in lines
    assert f"    {help_}" in lines
    assert [line for line in lines if line != line.rstrip()] == []
