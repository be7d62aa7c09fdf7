"""What CI systems are told is what their schemas and grammars allow, whatever the findings hold."""

import io
import json
import os
import re
import urllib.parse
import xml.etree.ElementTree as ET
from dataclasses import replace

import jsonschema
import pytest
import xmlschema
from hypothesis import example, given, settings

import reports
import schemas
from dupe_audit.checks import render_ci
from dupe_audit.checks.report import CheckReport, RuleRun

#: the grammar of GitHub's workflow commands, as its documentation and its toolkit have it
_VALUE = r"(?:[^%\r\n:,]|%(?:25|0D|0A|3A|2C))*"
_DATA = r"(?:[^%\r\n]|%(?:25|0D|0A))*"
COMMAND = re.compile(rf"::(error|warning|notice) ((?:\w+={_VALUE})(?:,\w+={_VALUE})*)::({_DATA})")
ESCAPES = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}

SARIF = jsonschema.validators.validator_for(schemas.sarif())(schemas.sarif())


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)


@pytest.fixture(scope="session")
def junit_schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(schemas.junit()))


def written(way, report: CheckReport) -> str:
    file = io.StringIO()
    way(report, file)
    return file.getvalue()


def sarif_run(report: CheckReport) -> dict:
    return json.loads(written(render_ci.sarif, report))["runs"][0]


def cases(report: CheckReport) -> dict[str, ET.Element]:
    return {case.get("name", ""): case for case in parsed(written(render_ci.junit, report)).iter("testcase")}


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text.encode("utf-8"))  # noqa: S314 - we wrote it ourselves


def unescaped(text: str) -> str:
    return re.sub("%(?:25|0D|0A|3A|2C)", lambda one: ESCAPES[one.group()], text)


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Return the workflow commands of a log, all of whose lines have to be some."""
    read = []
    for line in re.split("\r\n|\r|\n", text)[:-1]:
        match = COMMAND.fullmatch(line)
        assert match, f"not a command: {line!r}"
        properties = dict(one.split("=", maxsplit=1) for one in match[2].split(","))
        read.append((match[1], {name: unescaped(value) for name, value in properties.items()}, unescaped(match[3])))
    return read


def whole(text: str) -> str:
    """Return text as UTF-8 can hold it."""
    return text.encode("utf-8", "replace").decode("utf-8")


@settings(deadline=None, max_examples=60)
@given(report=reports.reports())
@example(report=reports.report())
def test_sarif_is_valid(report):
    """Whatever a report holds, its SARIF is what the schema of OASIS allows, in UTF-8."""
    text = written(render_ci.sarif, report)
    SARIF.validate(json.loads(text.encode("utf-8")))


def test_the_schema_of_sarif_refuses_what_is_wrong():
    """The schema that the SARIF is validated against does refuse a result without its message."""
    log = json.loads(written(render_ci.sarif, reports.report(reports.found())))
    del log["runs"][0]["results"][0]["message"]
    with pytest.raises(jsonschema.ValidationError, match="'message' is a required property"):
        SARIF.validate(log)


@settings(deadline=None, max_examples=60)
@given(report=reports.reports())
@example(report=reports.report())
def test_junit_is_valid(junit_schema, report):
    """Whatever a report holds, its JUnit XML is what the schema of Jenkins allows, and its sums are right."""
    text = written(render_ci.junit, report)
    junit_schema.validate(text)

    (suite,) = parsed(text)
    listed = list(suite.iter("testcase"))
    failures = [case for case in listed if case.find("failure") is not None]
    assert (str(len(listed)), str(len(failures))) == (suite.get("tests"), suite.get("failures"))
    assert bool(failures) is not report.ok


def test_the_schema_of_junit_refuses_what_is_wrong(junit_schema):
    """The schema that the JUnit XML is validated against does refuse a suite without its number of tests."""
    text = re.sub(r' tests="\d+"', "", written(render_ci.junit, reports.report()))
    with pytest.raises(xmlschema.XMLSchemaValidationError, match="tests"):
        junit_schema.validate(text)


@settings(deadline=None, max_examples=60)
@given(report=reports.reports())
def test_every_annotation_can_be_read_back(report):
    """Whatever a report holds, each line is one workflow command, and says what the finding says."""
    read = commands(written(render_ci.github, report))

    wanted = [
        (
            (one.finding.severity if one.fails else "notice"),
            {
                **({"file": whole(one.place.file), "line": str(one.place.line or 1)} if one.place.file else {}),
                "title": whole(f"{one.rule}: {one.finding.id}{' (accepted)' if one.accepted else ''}"),
            },
            whole(f"{one.finding.message}\n{one.finding.help}"),
        )
        for one in sorted(report.findings, key=lambda one: not one.fails)
    ]
    assert wanted == read


def test_a_report_without_findings_annotates_nothing():
    """A check that found nothing leaves nothing in the log that GitHub could read as a command."""
    assert "" == written(render_ci.github, reports.report())


def test_what_cannot_fail_the_check_is_a_notice_and_comes_last():
    """Infos and accepted findings are notices after the errors, because GitHub shows only the first ten of a kind."""
    report = reports.report(
        reports.found("irreversible"), reports.found(accepted=True), reports.found("several-heads", file=None)
    )
    read = commands(written(render_ci.github, report))
    assert [
        ("error", {"title": "way-back: several-heads"}),
        ("notice", {"file": "alembic/versions/002.py", "line": "12", "title": "way-back: irreversible"}),
        ("notice", {"file": "alembic/versions/002.py", "line": "12", "title": "way-back: no-way-back (accepted)"}),
    ] == [(kind, properties) for kind, properties, _ in read]


def test_junit_has_a_case_for_each_rule_and_revision():
    """A rule with findings has a case for each revision, one without has one that passes, a skipped one says why."""
    report = reports.report(
        reports.found(), reports.found("downgrade-differs"), reports.found("irreversible", revision="001")
    )
    read = cases(report)
    assert ["one-head", "way-back: 002", "way-back: 001", "squawk"] == list(read)
    assert [] == list(read["one-head"])
    assert "squawk is not installed" == read["squawk"].find("skipped").get("message")
    failure = read["way-back: 002"].find("failure")
    assert "2 findings: no-way-back, downgrade-differs" == failure.get("message")
    assert "alembic/versions/002.py:12: error [no-way-back] Revision 002 cannot be undone" in failure.text
    assert ["system-out"] == [child.tag for child in read["way-back: 001"]]


def test_an_accepted_finding_passes_in_junit():
    """A finding that a person accepted is in the case's output and does not fail it."""
    (output,) = cases(reports.report(reports.found(accepted=True)))["way-back: 002"]
    assert ("system-out", True) == (output.tag, "error, accepted [no-way-back]" in output.text)


def test_findings_of_a_rule_that_is_not_listed_are_in_junit():
    """No finding is lost because its rule is missing from the list of rules, or was skipped half-way."""
    report = reports.report(reports.found(rule="locks"), reports.found(rule="squawk"))
    read = cases(report)
    assert {"one-head", "way-back", "locks: 002", "squawk: 002", "squawk"} == set(read)
    assert read["squawk: 002"].find("failure") is not None


def test_sarif_has_every_finding_of_the_check_as_a_rule():
    """Code scanning learns each finding with its words, whether or not it was found, and results point at them."""
    run = sarif_run(reports.report(reports.found()))
    rules = run["tool"]["driver"]["rules"]
    assert list(render_ci.CHECK) == [rule["id"] for rule in rules]
    result = run["results"][0]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "no-way-back"
    assert [] == [rule["id"] for rule in rules if "{" in json.dumps(rule["help"]["text"])]


def test_sarif_tells_levels_and_what_is_accepted():
    """An error is an error, an info a note, and an accepted finding is suppressed instead of left out."""
    results = sarif_run(reports.report(reports.found(accepted=True), reports.found("irreversible")))["results"]
    assert ["error", "note"] == [one["level"] for one in results]
    assert [[{"kind": "external", "status": "accepted"}], None] == [one.get("suppressions") for one in results]


def test_a_place_in_sarif_is_a_relative_uri():
    """A path is percent-encoded, relative to the root of the sources, and one outside of them is a file URI."""
    names = ["a b/ü%#?:é.py", "/srv/app/001.py", os.fsdecode(b"\xff.py")]
    results = sarif_run(reports.report(*(reports.found(file=name) for name in names)))["results"]
    places = [one["locations"][0]["physicalLocation"] for one in results]
    relative, absolute, broken = (one["artifactLocation"] for one in places)

    assert names[0] == urllib.parse.unquote(relative["uri"])
    assert set(relative["uri"]) <= set("abcdefABCDEF0123456789py%/.")
    assert ("%SRCROOT%", None) == (relative["uriBaseId"], absolute.get("uriBaseId"))
    assert ("file:///srv/app/001.py", "%FF.py") == (absolute["uri"], broken["uri"])
    assert [{"startLine": 12}] * 3 == [one["region"] for one in places]


def test_a_finding_about_no_file_is_put_in_the_config():
    """Code scanning refuses results without a location, so one about no file is at the Alembic config's first line."""
    report = replace(reports.report(reports.found("several-heads", file=None)), config="db/alembic.ini")
    (result,) = sarif_run(report)["results"]
    place = result["locations"][0]["physicalLocation"]
    assert ("db/alembic.ini", 1) == (place["artifactLocation"]["uri"], place["region"]["startLine"])


def test_fingerprints_stay_when_lines_and_counts_change():
    """A finding keeps its fingerprint when its line moves, and two of one kind at one line have different ones."""

    def prints(*findings):
        results = sarif_run(reports.report(*findings))["results"]
        return [one["partialFingerprints"]["primaryLocationLineHash"] for one in results]

    first, second = prints(reports.found(), reports.found())
    other = prints(reports.found(line=99), reports.found(revision="001"), reports.found("downgrade-differs"))
    assert first == other[0]
    assert 4 == len({first, second, *other})


def test_a_rule_that_was_skipped_is_told_in_sarif():
    """A reader of the SARIF sees that a rule did not run, and why."""
    told = sarif_run(reports.report())["invocations"][0]["toolExecutionNotifications"]
    assert ["Rule squawk was skipped: squawk is not installed"] == [one["message"]["text"] for one in told]


@pytest.mark.parametrize(("workspace", "file"), [("", "back/001.py"), ("back", "001.py"), ("elsewhere", "001.py")])
def test_paths_are_told_from_the_root_of_the_repository(monkeypatch, tmp_path, workspace, file):
    """In a job that works in a subdirectory, GitHub is told the path from its checkout's root, if it is within."""
    (tmp_path / "back").mkdir()
    monkeypatch.chdir(tmp_path / "back")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / workspace))
    report = reports.report(reports.found(file="001.py"))

    (annotation,) = commands(written(render_ci.github, report))
    assert file == annotation[1]["file"]
    (result,) = sarif_run(report)["results"]
    assert file == result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]


def test_junit_removes_what_xml_cannot_hold():
    """Characters that XML 1.0 forbids are left out, and the others stay, markup and ends of lines included."""
    skipped = RuleRun(rule="a\x00b", skipped='<&">\n\x1b\ufffe\ud800\U0001f600')
    read = cases(replace(reports.report(), rules=(skipped,)))
    assert {"ab": '<&">\n\U0001f600'} == {name: case[0].get("message") for name, case in read.items()}
