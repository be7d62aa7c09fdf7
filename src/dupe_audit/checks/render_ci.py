"""The report of the CI check in the formats that CI systems read: JUnit, SARIF and GitHub annotations."""

from __future__ import annotations

import hashlib
import os
import re
import xml.etree.ElementTree as ET
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from dupe_audit.checks.report import CheckReport, Place, ReportedFinding, RuleRun
from dupe_audit.findings import CATALOGUE, CHECK, Entry, FindingId, quantity
from dupe_audit.findings.entry import Severity
from dupe_audit.render import dump

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}

#: characters that XML 1.0 cannot contain, not even escaped
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: CheckReport, file: IO[str]) -> None:
    """Write JUnit XML: one case per rule and revision with findings, and one per rule without findings."""
    cases = [case for rule in _rules(report) for case in _cases(rule, report)]
    seconds = f"{sum(seconds for _, seconds in report.seconds):.3f}"
    suite = ET.Element("testsuite", name="dupe-audit check", errors="0", time=seconds)
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    properties = ET.SubElement(suite, "properties")
    ET.SubElement(properties, "property", name="server", value=_xml(report.server))
    ET.SubElement(properties, "property", name="revisions", value=str(len(report.revisions)))
    suite.extend(cases)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    file.write(f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n')


def _rules(report: CheckReport) -> list[RuleRun]:
    """Return the rules of the report, and those that only appear in its findings."""
    listed = {run.rule for run in report.rules}
    unlisted = dict.fromkeys(result.rule for result in report.findings if result.rule not in listed)
    return [*report.rules, *(RuleRun(rule=rule) for rule in unlisted)]


def _cases(run: RuleRun, report: CheckReport) -> list[ET.Element]:
    by_revision: dict[str | None, list[ReportedFinding]] = {}
    for result in report.findings:
        if result.rule == run.rule:
            by_revision.setdefault(result.place.revision, []).append(result)
    cases = [_case(run.rule, revision, findings) for revision, findings in by_revision.items()]
    if cases and run.skipped is None:
        return cases
    case = _case(run.rule, None, [])
    if run.skipped is not None:
        ET.SubElement(case, "skipped", message=_xml(run.skipped))
    return [*cases, case]


def _case(rule: str, revision: str | None, findings: list[ReportedFinding]) -> ET.Element:
    name = rule if revision is None else f"{rule}: {revision}"
    case = ET.Element("testcase", classname=_xml(f"dupe-audit.{rule}"), name=_xml(name))
    failing = [result for result in findings if result.fails]
    if failing:
        # Only one element: most JUnit readers show the first and drop the others.
        ids = ", ".join(dict.fromkeys(result.finding.id for result in failing))
        message = failing[0].finding.message if len(failing) == 1 else f"{quantity(len(failing), 'finding')}: {ids}"
        ET.SubElement(case, "failure", type=_xml(ids), message=_xml(message)).text = _lines(failing)
    if passing := [result for result in findings if not result.fails]:
        ET.SubElement(case, "system-out").text = _lines(passing)
    return case


def _lines(findings: list[ReportedFinding]) -> str:
    return _xml("\n".join(f"{result}\n  {result.finding.help}" for result in findings))


def _xml(text: str) -> str:
    return _NOT_XML.sub("", text)


def sarif(report: CheckReport, file: IO[str]) -> None:
    """Write SARIF 2.1.0, limited to what GitHub's code scanning shows."""
    entries = CHECK | {result.finding.id: CATALOGUE[result.finding.id] for result in report.findings}
    ids = list(entries)
    counts: Counter[str] = Counter()
    run = {
        "tool": {
            "driver": {
                "name": "dupe-audit",
                "version": metadata.version("dupe-audit"),
                "rules": [_descriptor(id_, entry) for id_, entry in entries.items()],
            }
        },
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {"level": "note", "message": {"text": f"Rule {rule.rule} was skipped: {rule.skipped}"}}
                    for rule in report.rules
                    if rule.skipped is not None
                ],
            }
        ],
        "results": [_result(result, ids, counts, report) for result in report.findings],
    }
    dump({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, file)


def _descriptor(id_: str, entry: Entry) -> dict[str, Any]:
    message, help_ = (text.format(subject="…", table="a table") for text in (entry.message, entry.help))
    message = message[:1].upper() + message[1:]
    return {
        "id": id_,
        "shortDescription": {"text": message},
        "fullDescription": {"text": f"{message} {help_}"},
        "help": {"text": help_},
        "defaultConfiguration": {"level": _LEVELS[entry.severity]},
    }


def _result(result: ReportedFinding, ids: list[FindingId], counts: Counter[str], report: CheckReport) -> dict[str, Any]:
    # Without line and counts: a finding stays the same after an edit above it, or with more rows.
    identity = "\0".join((result.rule, result.finding.id, result.place.revision or "")).encode("utf-8", "surrogatepass")
    fingerprint = hashlib.sha256(identity).hexdigest()[:16]
    counts[fingerprint] += 1
    written: dict[str, Any] = {
        "ruleId": result.finding.id,
        "ruleIndex": ids.index(result.finding.id),
        "level": _LEVELS[result.finding.severity],
        "message": {"text": _message(result)},
        "locations": [_location(result.place, report.config)],
        "partialFingerprints": {"primaryLocationLineHash": f"{fingerprint}:{counts[fingerprint]}"},
        "properties": {"rule": result.rule, "revision": result.place.revision},
    }
    if result.accepted:
        written["suppressions"] = [{"kind": "external", "status": "accepted"}]
    return written


def _location(place: Place, config: str) -> dict[str, Any]:
    # Code scanning refuses a whole upload if one result has no location. A finding about no file is therefore placed in
    # the Alembic config, which names the history.
    path = _in_repository(place.file or config)
    uri = quote(os.fsencode(path))
    artifact = {"uri": f"file://{uri}"} if path.startswith("/") else {"uri": uri, "uriBaseId": "%SRCROOT%"}
    line = place.line if place.file and place.line else 1
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": line}}}


def github(report: CheckReport, file: IO[str]) -> None:
    """Write GitHub workflow commands, one per line; failing findings first, because GitHub shows only ten of a kind."""
    for result in sorted(report.findings, key=lambda result: not result.fails):
        kind = result.finding.severity if result.fails else "notice"
        properties = {}
        if result.place.file is not None:
            properties = {"file": _in_repository(result.place.file), "line": str(result.place.line or 1)}
        properties["title"] = f"{result.rule}: {result.finding.id}" + (" (accepted)" if result.accepted else "")
        parameters = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
        file.write(f"::{kind} {parameters}::{_data(_message(result))}\n")


def _message(result: ReportedFinding) -> str:
    return f"{result.finding.message}\n{result.finding.help}"


def _data(text: str) -> str:
    encodable = text.encode("utf-8", "replace").decode("utf-8")  # without lone surrogates, which a log cannot contain
    return encodable.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _in_repository(path: str) -> str:
    """Return a path as GitHub wants it: relative to the root of the repository, wherever the job runs inside it."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if not workspace:
        return path
    try:
        return Path(path).absolute().relative_to(Path(workspace).absolute()).as_posix()
    except ValueError:
        return path
