"""Facts as JSON: the objects that other programs read."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import IO, Any

from dupe_audit.model import (
    CleanupRule,
    DuplicateReport,
    Estimates,
    Run,
    Sample,
    SampleRow,
    Suggestion,
    UniqueKey,
    Unseen,
    VerifyReport,
)

#: control characters that JSON allows and a terminal obeys, and marks that reverse the direction of a text
_OBEYED = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

#: the counts of a report, in the order in which they are written
COUNTS = (
    "rows",
    "outside_rows",
    "null_key_rows",
    "groups",
    "extras",
    "affected",
    "largest_group",
    "exact_groups",
    "divergent_groups",
)


def _unseen_key(unseen: Unseen) -> dict[str, Any]:
    return {
        "schema": unseen.schema,
        "table": unseen.table,
        "columns": list(unseen.columns),
        "elements": list(unseen.columns),
        "where": None,
        "constraint": unseen.constraint,
    }


def _key_json(key: UniqueKey) -> dict[str, Any]:
    return {
        "schema": key.schema,
        "table": key.table,
        "columns": [name for name in key.names if name is not None],
        "elements": list(key.elements),
        "where": key.where,
        "constraint": key.name,
    }


def _rule_json(rule: CleanupRule | None) -> dict[str, Any] | None:
    if rule is None:
        return None
    return {
        "keep": rule.keep,
        "order_by": list(map(str, rule.order_by)),
        "exact": rule.exact,
        "divergent": rule.divergent,
        "references": rule.references,
        "ignore": list(rule.ignore),
        "set_": {change.column: change.sql for change in rule.changes},
        "merge": {merge.column: merge.how for merge in rule.merges},
    }


def preflight_json(report: DuplicateReport | Unseen) -> dict[str, Any]:
    """Return the contract's object for one key; counts are null if the table could not be read or counted."""
    if isinstance(report, Unseen):
        return {
            **_unseen_key(report),
            "nulls_not_distinct": False,
            "revision": report.revision,
            "rule": None,
            **dict.fromkeys(COUNTS),
            "differs": {},
            "suggestion": None,
            "estimates": asdict(Estimates()),
            "references": [],
            "findings": [asdict(finding) for finding in report.findings],
        }
    counts = {name: getattr(report.counts, name) if report.counts else None for name in COUNTS}
    values = {
        **_key_json(report.key),
        "nulls_not_distinct": report.key.nulls_not_distinct,
        "revision": report.revision,
        "rule": _rule_json(report.rule),
        **counts,
        "differs": report.differs,
        "suggestion": _suggestion_json(report.suggestion),
        "estimates": asdict(report.estimates),
        "references": [asdict(reference) for reference in report.references],
        "findings": [asdict(finding) for finding in report.findings],
    }
    if report.examples:
        values["examples"] = [{"key": key, "rows": rows} for key, rows in report.examples]
    if report.samples:
        values["samples"] = [_sample_json(sample) for sample in report.samples]
    if report.leaves:
        values["leaves"] = asdict(report.leaves)
    if report.failed_rows:
        values["failed_rows"] = [asdict(row) for row in report.failed_rows]
    return values


def samples_json(report: DuplicateReport) -> dict[str, Any]:
    """Return the samples of one key, for a separate file."""
    return {
        **_key_json(report.key),
        "revision": report.revision,
        "rule": _rule_json(report.rule),
        "samples": [_sample_json(sample) for sample in report.samples],
    }


def _sample_json(sample: Sample) -> dict[str, Any]:
    """Return a sample without the keys and values that were not asked for."""
    key = {} if sample.key is None else {"key": sample.key}
    extras = [{**_row_json(row), "differs": list(row.differs)} for row in sample.extras]
    return {
        "rows": sample.rows,
        **key,
        "differs": list(sample.differs),
        "survivor": _row_json(sample.survivor),
        "extras": extras,
    }


def _row_json(row: SampleRow) -> dict[str, Any]:
    return {"identity": row.identity, **({"values": row.values} if row.values else {})}


def _suggestion_json(suggestion: Suggestion | None) -> dict[str, Any] | None:
    if suggestion is None:
        return None
    return {
        "columns": suggestion.columns,
        "exact_groups": suggestion.exact_groups,
        "directive": suggestion.directive,
        "options": suggestion.options,
    }


def verify_json(report: VerifyReport | Unseen) -> dict[str, Any]:
    """Return the contract's object for one key, or for something that could not be read."""
    if isinstance(report, Unseen):
        return {
            **_unseen_key(report),
            "ok": all(finding.severity == "info" for finding in report.findings),
            **dict.fromkeys(("index", "extras", "rows", "run")),
            "findings": [asdict(finding) for finding in report.findings],
            "revision": report.revision,
        }
    index = report.index and {
        name: getattr(report.index, name) for name in ("name", "valid", "ready", "definition", "bytes")
    }
    counts = ("id", "rows_before", "archived", "amended", "merged", "restored", "reverted")
    run = report.run and {name: getattr(report.run, name) for name in counts}
    leaves = {} if report.leaves is None else {"leaves": {"count": report.leaves}}
    return {
        **_key_json(report.key),
        "ok": report.ok,
        "index": index,
        "extras": report.extras,
        "rows": report.rows,
        **leaves,
        "run": run,
        "findings": [asdict(finding) for finding in report.findings],
    }


def run_json(run: Run) -> dict[str, Any]:
    """Return a row of the ledger; ``key_columns`` has the elements of the key, each as it was written."""
    elements = list(map(str, run.key_columns))
    return {**asdict(run), "key_columns": elements, "elements": elements}


def dump(value: object, file: IO[str]) -> None:
    """Write JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    text = _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    # Half a surrogate pair (a file's name can hold one) becomes its JSON escape.
    file.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
