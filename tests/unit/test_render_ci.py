"""The output for CI systems conforms to their schemas and grammars, whatever the findings contain."""

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
from hypothesis import example, given

import reports
import schemas
from dupe_audit.checks import render_ci
from dupe_audit.checks.report import CheckReport, RuleRun

#: the grammar of GitHub's workflow commands, from its documentation and its toolkit
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
    return re.sub("%(?:25|0D|0A|3A|2C)", lambda escape: ESCAPES[escape.group()], text)


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Return the workflow commands of a log, in which every line must be one."""
    read = []
    for line in re.split("\r\n|\r|\n", text)[:-1]:
        match = COMMAND.fullmatch(line)
        assert match, f"not a command: {line!r}"
        properties = dict(pair.split("=", maxsplit=1) for pair in match[2].split(","))
        read.append((match[1], {name: unescaped(value) for name, value in properties.items()}, unescaped(match[3])))
    return read


def whole(text: str) -> str:
    """Return text as UTF-8 can encode it."""
    return text.encode("utf-8", "replace").decode("utf-8")


@given(report=reports.reports())
@example(report=reports.report())
def test_sarif_is_valid(report):
    """Whatever a report contains, its SARIF conforms to the schema of OASIS, in UTF-8."""
    text = written(render_ci.sarif, report)
    SARIF.validate(json.loads(text.encode("utf-8")))


def test_the_schema_of_sarif_refuses_what_is_wrong():
    """The schema used to validate the SARIF does refuse a result without its message."""
    log = json.loads(written(render_ci.sarif, reports.report(reports.result())))
    del log["runs"][0]["results"][0]["message"]
    with pytest.raises(jsonschema.ValidationError, match="'message' is a required property"):
        SARIF.validate(log)


@given(report=reports.reports())
@example(report=reports.report())
def test_junit_is_valid(junit_schema, report):
    """Whatever a report contains, its JUnit XML conforms to the schema of Jenkins, and its totals are right."""
    text = written(render_ci.junit, report)
    junit_schema.validate(text)

    (suite,) = parsed(text)
    listed = list(suite.iter("testcase"))
    failures = [case for case in listed if case.find("failure") is not None]
    assert (str(len(listed)), str(len(failures))) == (suite.get("tests"), suite.get("failures"))
    assert bool(failures) is not report.ok


def test_the_schema_of_junit_refuses_what_is_wrong(junit_schema):
    """The schema used to validate the JUnit XML does refuse a suite without its number of tests."""
    text = re.sub(r' tests="\d+"', "", written(render_ci.junit, reports.report()))
    with pytest.raises(xmlschema.XMLSchemaValidationError, match="tests"):
        junit_schema.validate(text)


@given(report=reports.reports())
def test_every_annotation_can_be_read_back(report):
    """Whatever a report contains, each line is one workflow command with the text of the finding."""
    read = commands(written(render_ci.github, report))

    wanted = [
        (
            (result.finding.severity if result.fails else "notice"),
            {
                **(
                    {"file": whole(result.place.file), "line": str(result.place.line or 1)} if result.place.file else {}
                ),
                "title": whole(f"{result.rule}: {result.finding.id}{' (accepted)' if result.accepted else ''}"),
            },
            whole(f"{result.finding.message}\n{result.finding.help}"),
        )
        for result in sorted(report.findings, key=lambda result: not result.fails)
    ]
    assert wanted == read


def test_a_report_without_findings_annotates_nothing():
    """A check without findings writes nothing that GitHub could read as a command."""
    assert "" == written(render_ci.github, reports.report())


def test_what_cannot_fail_the_check_is_a_notice_and_comes_last():
    """Infos and accepted findings are notices after the errors, because GitHub shows only the first ten of a kind."""
    report = reports.report(
        reports.result("irreversible"), reports.result(accepted=True), reports.result("several-heads", file=None)
    )
    read = commands(written(render_ci.github, report))
    assert [
        ("error", {"title": "way-back: several-heads"}),
        ("notice", {"file": "alembic/versions/002.py", "line": "12", "title": "way-back: irreversible"}),
        ("notice", {"file": "alembic/versions/002.py", "line": "12", "title": "way-back: no-way-back (accepted)"}),
    ] == [(kind, properties) for kind, properties, _ in read]


def test_junit_has_a_case_for_each_rule_and_revision():
    """A rule with findings has one case per revision, a rule without has one that passes, a skipped one says why."""
    report = reports.report(
        reports.result(), reports.result("downgrade-differs"), reports.result("irreversible", revision="001")
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
    """An accepted finding is in the output of the case and does not fail it."""
    (output,) = cases(reports.report(reports.result(accepted=True)))["way-back: 002"]
    assert ("system-out", True) == (output.tag, "error, accepted [no-way-back]" in output.text)


def test_findings_of_a_rule_that_is_not_listed_are_in_junit():
    """No finding is lost because its rule is missing from the list of rules, or was skipped halfway."""
    report = reports.report(reports.result(rule="locks"), reports.result(rule="squawk"))
    read = cases(report)
    assert {"one-head", "way-back", "locks: 002", "squawk: 002", "squawk"} == set(read)
    assert read["squawk: 002"].find("failure") is not None


def test_sarif_has_every_finding_of_the_check_as_a_rule():
    """Code scanning gets the text of every finding, reported or not, and results point to them."""
    run = sarif_run(reports.report(reports.result()))
    rules = run["tool"]["driver"]["rules"]
    assert list(render_ci.CHECK) == [rule["id"] for rule in rules]
    result = run["results"][0]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "no-way-back"
    assert [] == [rule["id"] for rule in rules if "{" in json.dumps(rule["help"]["text"])]


def test_sarif_has_levels_and_suppressions():
    """An error is an error, an info is a note, and an accepted finding is suppressed instead of omitted."""
    results = sarif_run(reports.report(reports.result(accepted=True), reports.result("irreversible")))["results"]
    assert ["error", "note"] == [result["level"] for result in results]
    assert [[{"kind": "external", "status": "accepted"}], None] == [result.get("suppressions") for result in results]


def test_a_place_in_sarif_is_a_relative_uri():
    """A path is percent-encoded and relative to the root of the sources; a path outside of them is a file URI."""
    names = ["a b/ü%#?:é.py", "/srv/app/001.py", os.fsdecode(b"\xff.py")]
    results = sarif_run(reports.report(*(reports.result(file=name) for name in names)))["results"]
    places = [result["locations"][0]["physicalLocation"] for result in results]
    relative, absolute, broken = (place["artifactLocation"] for place in places)

    assert names[0] == urllib.parse.unquote(relative["uri"])
    assert set(relative["uri"]) <= set("abcdefABCDEF0123456789py%/.")
    assert ("%SRCROOT%", None) == (relative["uriBaseId"], absolute.get("uriBaseId"))
    assert ("file:///srv/app/001.py", "%FF.py") == (absolute["uri"], broken["uri"])
    assert [{"startLine": 12}] * 3 == [place["region"] for place in places]


def test_a_finding_without_a_file_is_placed_in_the_config():
    """Code scanning refuses results without a location, so a finding without a file is at line 1 of the config."""
    report = replace(reports.report(reports.result("several-heads", file=None)), config="db/alembic.ini")
    (result,) = sarif_run(report)["results"]
    place = result["locations"][0]["physicalLocation"]
    assert ("db/alembic.ini", 1) == (place["artifactLocation"]["uri"], place["region"]["startLine"])


def test_fingerprints_stay_when_lines_and_counts_change():
    """A finding keeps its fingerprint if its line moves; two findings of one kind on one line have different ones."""

    def prints(*findings):
        results = sarif_run(reports.report(*findings))["results"]
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in results]

    first, second = prints(reports.result(), reports.result())
    other = prints(reports.result(line=99), reports.result(revision="001"), reports.result("downgrade-differs"))
    assert first == other[0]
    assert 4 == len({first, second, *other})


def test_a_skipped_rule_is_reported_in_sarif():
    """The SARIF says that a rule did not run, and why."""
    notifications = sarif_run(reports.report())["invocations"][0]["toolExecutionNotifications"]
    assert ["Rule squawk was skipped: squawk is not installed"] == [
        notification["message"]["text"] for notification in notifications
    ]


@pytest.mark.parametrize(("workspace", "file"), [("", "back/001.py"), ("back", "001.py"), ("elsewhere", "001.py")])
def test_paths_are_relative_to_the_root_of_the_repository(monkeypatch, tmp_path, workspace, file):
    """In a job that runs in a subdirectory, GitHub gets paths relative to the root of the checkout, if inside it."""
    (tmp_path / "back").mkdir()
    monkeypatch.chdir(tmp_path / "back")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / workspace))
    report = reports.report(reports.result(file="001.py"))

    (annotation,) = commands(written(render_ci.github, report))
    assert file == annotation[1]["file"]
    (result,) = sarif_run(report)["results"]
    assert file == result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]


def test_junit_removes_what_xml_cannot_contain():
    """Characters that XML 1.0 forbids are removed; all others are kept, including markup and line ends."""
    skipped = RuleRun(rule="a\x00b", skipped='<&">\n\x1b\ufffe\ud800\U0001f600')
    read = cases(replace(reports.report(), rules=(skipped,)))
    assert {"ab": '<&">\n\U0001f600'} == {name: case[0].get("message") for name, case in read.items()}
