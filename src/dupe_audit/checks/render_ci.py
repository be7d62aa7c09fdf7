"""The CI check's report in the formats that CI systems read: JUnit, SARIF and GitHub's annotations."""

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

from dupe_audit.checks.report import CheckReport, Found, Place, RuleRun
from dupe_audit.findings import CATALOGUE, CHECK, Entry, FindingId
from dupe_audit.findings.entry import Severity
from dupe_audit.render import dump

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}

#: what XML 1.0 cannot hold, not even escaped
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: CheckReport, file: IO[str]) -> None:
    """Write JUnit XML: a case for each rule and revision with findings, and for each rule without."""
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
    """Return the rules that ran; one that only its findings tell of is among them."""
    known = {one.rule for one in report.rules}
    others = dict.fromkeys(one.rule for one in report.findings if one.rule not in known)
    return [*report.rules, *(RuleRun(rule=rule) for rule in others)]


def _cases(run: RuleRun, report: CheckReport) -> list[ET.Element]:
    by_revision: dict[str | None, list[Found]] = {}
    for one in report.findings:
        if one.rule == run.rule:
            by_revision.setdefault(one.place.revision, []).append(one)
    cases = [_case(run.rule, revision, found) for revision, found in by_revision.items()]
    if cases and run.skipped is None:
        return cases
    case = _case(run.rule, None, [])
    if run.skipped is not None:
        ET.SubElement(case, "skipped", message=_xml(run.skipped))
    return [*cases, case]


def _case(rule: str, revision: str | None, found: list[Found]) -> ET.Element:
    name = rule if revision is None else f"{rule}: {revision}"
    case = ET.Element("testcase", classname=_xml(f"dupe-audit.{rule}"), name=_xml(name))
    failing = [one for one in found if one.fails]
    if failing:
        # One element: most readers of JUnit show the first and drop the others.
        ids = ", ".join(dict.fromkeys(one.finding.id for one in failing))
        message = failing[0].finding.message if len(failing) == 1 else f"{len(failing)} findings: {ids}"
        ET.SubElement(case, "failure", type=_xml(ids), message=_xml(message)).text = _told(failing)
    if passing := [one for one in found if not one.fails]:
        ET.SubElement(case, "system-out").text = _told(passing)
    return case


def _told(found: list[Found]) -> str:
    return _xml("\n".join(f"{one}\n  {one.finding.help}" for one in found))


def _xml(text: str) -> str:
    return _NOT_XML.sub("", text)


def sarif(report: CheckReport, file: IO[str]) -> None:
    """Write SARIF 2.1.0, in the subset that GitHub's code scanning shows."""
    entries = CHECK | {one.finding.id: CATALOGUE[one.finding.id] for one in report.findings}
    ids = list(entries)
    seen: Counter[str] = Counter()
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
                    {"level": "note", "message": {"text": f"Rule {one.rule} was skipped: {one.skipped}"}}
                    for one in report.rules
                    if one.skipped is not None
                ],
            }
        ],
        "results": [_result(one, ids, seen, report) for one in report.findings],
    }
    dump({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, file)


def _descriptor(id_: str, entry: Entry) -> dict[str, Any]:
    message, help_ = (text.format(subject="…", table="a table") for text in (entry.message, entry.help))
    return {
        "id": id_,
        "shortDescription": {"text": message},
        "fullDescription": {"text": f"{message} {help_}"},
        "help": {"text": help_},
        "defaultConfiguration": {"level": _LEVELS[entry.severity]},
    }


def _result(one: Found, ids: list[FindingId], seen: Counter[str], report: CheckReport) -> dict[str, Any]:
    # Neither line nor counts: a finding is the same one after an edit above it, or with more rows.
    identity = "\0".join((one.rule, one.finding.id, one.place.revision or "")).encode("utf-8", "surrogatepass")
    print_ = hashlib.sha256(identity).hexdigest()[:16]
    seen[print_] += 1
    result: dict[str, Any] = {
        "ruleId": one.finding.id,
        "ruleIndex": ids.index(one.finding.id),
        "level": _LEVELS[one.finding.severity],
        "message": {"text": _message(one)},
        "locations": [_location(one.place, report.config)],
        "partialFingerprints": {"primaryLocationLineHash": f"{print_}:{seen[print_]}"},
        "properties": {"rule": one.rule, "revision": one.place.revision},
    }
    if one.accepted:
        result["suppressions"] = [{"kind": "external", "status": "accepted"}]
    return result


def _location(place: Place, config: str) -> dict[str, Any]:
    # Code scanning refuses a whole upload for one result without a location, so what is about no file is put where
    # the history is named: in the Alembic config.
    path = _in_repository(place.file or config)
    uri = quote(os.fsencode(path))
    artifact = {"uri": f"file://{uri}"} if path.startswith("/") else {"uri": uri, "uriBaseId": "%SRCROOT%"}
    line = place.line if place.file and place.line else 1
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": line}}}


def github(report: CheckReport, file: IO[str]) -> None:
    """Write GitHub's workflow commands, one a line; the failing first, because GitHub shows ten of a kind."""
    for one in sorted(report.findings, key=lambda one: not one.fails):
        kind = one.finding.severity if one.fails else "notice"
        properties = {}
        if one.place.file is not None:
            properties = {"file": _in_repository(one.place.file), "line": str(one.place.line or 1)}
        properties["title"] = f"{one.rule}: {one.finding.id}" + (" (accepted)" if one.accepted else "")
        told = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
        file.write(f"::{kind} {told}::{_data(_message(one))}\n")


def _message(one: Found) -> str:
    return f"{one.finding.message}\n{one.finding.help}"


def _data(text: str) -> str:
    whole = text.encode("utf-8", "replace").decode("utf-8")  # without halves of surrogate pairs, which no log holds
    return whole.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _in_repository(path: str) -> str:
    """Return a path as GitHub wants it: from the root of the repository, wherever in it the job is at work."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if not workspace:
        return path
    try:
        return Path(path).absolute().relative_to(Path(workspace).absolute()).as_posix()
    except ValueError:
        return path
