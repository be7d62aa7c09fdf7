"""Facts as JSON: the objects that other programs read."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import IO, Any

from dupe_audit.model import DuplicateReport, Estimates, UniqueKey, Unseen, VerifyReport

#: the counts of a report, in the order in which they are written
COUNTS = ("rows", "null_key_rows", "groups", "extras", "affected", "largest_group", "exact_groups", "divergent_groups")


def _unseen_key(unseen: Unseen) -> dict[str, Any]:
    return {
        "schema": unseen.schema,
        "table": unseen.table,
        "columns": list(unseen.columns),
        "constraint": unseen.constraint,
    }


def _key_json(key: UniqueKey) -> dict[str, Any]:
    return {"schema": key.schema, "table": key.table, "columns": list(key.columns), "constraint": key.name}


def preflight_json(report: DuplicateReport | Unseen) -> dict[str, Any]:
    """Return the contract's object for one key; counts are null if the table could not be read or counted."""
    if isinstance(report, Unseen):
        return {
            **_unseen_key(report),
            "nulls_not_distinct": False,
            **dict.fromkeys(COUNTS),
            "estimates": asdict(Estimates()),
            "references": [],
            "findings": [asdict(finding) for finding in report.findings],
            "revision": report.revision,
        }
    counts = {name: getattr(report.counts, name) if report.counts else None for name in COUNTS}
    values = {
        **_key_json(report.key),
        "nulls_not_distinct": report.key.nulls_not_distinct,
        **counts,
        "estimates": asdict(report.estimates),
        "references": [asdict(reference) for reference in report.references],
        "findings": [asdict(finding) for finding in report.findings],
    }
    if report.examples:
        values["examples"] = [{"key": key, "rows": rows} for key, rows in report.examples]
    return values


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
    run = report.run and {name: getattr(report.run, name) for name in ("id", "rows_before", "archived", "restored")}
    return {
        **_key_json(report.key),
        "ok": report.ok,
        "index": index,
        "extras": report.extras,
        "rows": report.rows,
        "run": run,
        "findings": [asdict(finding) for finding in report.findings],
    }


def dump(value: object, file: IO[str]) -> None:
    """Write JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    # Half a surrogate pair (a file's name can hold one) becomes its JSON escape.
    file.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
