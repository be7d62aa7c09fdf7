"""The report of the CI check as text and JSON."""

import io
import json
import unicodedata
from dataclasses import fields, replace

from hypothesis import given

import reports
from dupe_audit.checks import render as render_check
from dupe_audit.checks.report import CheckReport, Place, ReportedFinding, RuleRun
from dupe_audit.findings.entry import Finding
from dupe_audit.seeding.facts import Filled


def written(report: CheckReport, style: str = "text") -> str:
    file = io.StringIO()
    {"text": render_check.text, "json": render_check.json}[style](report, file)
    return file.getvalue()


def test_the_text_contains_every_part_of_the_report():
    """The text lists the rules and why one was skipped, the findings by place, the filled tables, and the seconds."""
    text = written(reports.report(reports.result(), reports.result("irreversible", line=3), reports.result(file=None)))
    lines = [" ".join(line.split()) for line in text.splitlines()]

    assert "one-head 2 0" in lines
    assert "way-back 2 3" in lines
    assert "squawk - 0 squawk is not installed" in lines
    assert "002 public.orders 1,000 40 11 7 3" in lines
    assert ["server 1.2", "revisions 2.5", "total 3.8"] == lines[-5:-2]
    assert "2 findings fail the check (2 revisions, PostgreSQL 18.6, embedded)" == lines[-1]
    finding_lines = [line for line in lines if "] Revision" in line]
    assert [
        "002: error [no-way-back] Revision 002 cannot be undone: its downgrade() does nothing.",
        "alembic/versions/002.py:3: info [irreversible] Revision 002 declares that it cannot be undone.",
        "alembic/versions/002.py:12: error [no-way-back] Revision 002 cannot be undone: its downgrade() does nothing.",
    ] == finding_lines


def test_the_projects_own_rows_are_not_classified():
    """A table that the project's own SQL filled is listed with its rows, and without kinds of extras."""
    own = Filled(revision="002", table="public.orders", rows=1234, own=True)
    lines = [" ".join(line.split()) for line in written(replace(reports.report(), filled=(own,))).splitlines()]
    assert "002 public.orders 1,234 your SQL - - -" in lines


def test_a_line_of_the_text_is_never_cut():
    """A finding stays on one line however long it is, so that a tool can search for it."""
    long = replace(reports.result().finding, message="word " * 100 + "end.")
    text = written(reports.report(replace(reports.result(), finding=long)))
    assert 1 == sum("[no-way-back]" in line and line.endswith("end.") for line in text.splitlines())


def test_an_accepted_finding_is_shown_and_does_not_fail():
    """The text says that a finding is accepted, and the last line is ok."""
    text = written(reports.report(reports.result(accepted=True)))
    assert "002.py:12: error, accepted [no-way-back]" in text
    assert "ok (2 revisions, PostgreSQL 18.6, embedded)" == text.splitlines()[-1]


def test_an_empty_report_is_its_last_line():
    """A report without rules and tables prints only the verdict, and no empty table."""
    report = CheckReport(server="s", revisions=("1",), rules=(), filled=(), findings=(), seconds=())
    assert "ok (1 revision, s)" == written(report).strip()


@given(report=reports.reports())
def test_text_survives_any_content(report):
    """Whatever a report contains, the text can be encoded, has no control characters, and ends with the verdict."""
    text = written(report)
    text.encode("utf-8")
    assert set() == {character for character in text if unicodedata.category(character) == "Cc"} - {"\n", "\t"}
    assert all(result.finding.id in text for result in report.findings)


@given(report=reports.reports())
def test_json_gives_the_report_back(report):
    """The JSON can be encoded, and contains everything in the report."""
    read = json.loads(written(report, "json").encode("utf-8"))
    again = CheckReport(
        server=read["server"],
        config=read["config"],
        revisions=tuple(read["revisions"]),
        rules=tuple(RuleRun(**rule) for rule in read["rules"]),
        filled=tuple(Filled(**table) for table in read["filled"]),
        findings=tuple(
            ReportedFinding(
                rule=result["rule"],
                finding=Finding(**{field.name: result[field.name] for field in fields(Finding)}),
                place=Place(**{field.name: result[field.name] for field in fields(Place)}),
                accepted=result["accepted"],
            )
            for result in read["findings"]
        ),
        seconds=tuple((part["part"], part["seconds"]) for part in read["seconds"]),
    )
    assert replace(report, seconds=tuple((part, round(seconds, 3)) for part, seconds in report.seconds)) == again
    assert (report.ok, [result.fails for result in report.findings]) == (
        read["ok"],
        [result["fails"] for result in read["findings"]],
    )


def test_a_report_says_what_fails_when_a_test_prints_it():
    """As a string, for an assertion message, the report is its verdict and each failing finding with its help."""
    fails = reports.result()
    report = reports.report(fails, reports.result("irreversible"), reports.result(accepted=True))
    assert [
        "1 finding fails the check (2 revisions, PostgreSQL 18.6, embedded)",
        f"  alembic/versions/002.py:12: error [no-way-back] {fails.finding.message}",
        f"    {fails.finding.help}",
    ] == str(report).splitlines()


def test_a_place_is_shown_as_exactly_as_it_is_known():
    """A place is its file and line, or its file, or its revision, or the history as a whole."""
    places = [Place(file="a.py", line=3, revision="1"), Place(file="a.py"), Place(revision="1"), Place()]
    assert ["a.py:3", "a.py", "1", "the history"] == [str(place) for place in places]
