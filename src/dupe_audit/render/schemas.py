"""The same key in many schemas: a line per schema, totals, and each kind of finding once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO, Any

from rich.text import Text

from dupe_audit.findings import Finding, quantity
from dupe_audit.layout import console, plain, print_hanging, write_markdown_table
from dupe_audit.model import DuplicateReport, Run, UniqueKey, VerifyReport
from dupe_audit.render.objects import preflight_json, verify_json
from dupe_audit.render.text import STYLES
from dupe_audit.render.values import size

#: counts of a preflight that a line per schema shows
_COUNTS = ("rows", "groups", "extras", "exact_groups", "divergent_groups")

Report = DuplicateReport | VerifyReport


def preflight_schemas(reports: Sequence[DuplicateReport], style: str, file: IO[str]) -> None:
    """Write a table per key, with a line per schema."""
    for title, group in _by_key(reports):
        header = ("schema", *(name.replace("_", " ") for name in _COUNTS), "findings")
        body = [
            (
                str(report.key.schema),
                *(_shown(getattr(report.counts, name, None)) for name in _COUNTS),
                _ids(report.findings),
            )
            for report in group
        ]
        total = _totals(group)
        last = ("total", *(f"{total[name]:,}" for name in _COUNTS), f"{total['clean']:,} clean")
        _write(title, header, [*body, last], group, style, file)


def verify_schemas(reports: Sequence[VerifyReport], style: str, file: IO[str]) -> None:
    """Write a table per key, with a line per schema."""
    for title, group in _by_key(reports):
        header = ("schema", "enforced", "rows", "extras", "run", "findings")
        body = [
            (
                str(report.key.schema),
                "yes" if report.enforced else "NO",
                _shown(report.rows),
                _shown(report.extras),
                str(report.run.id) if report.run else "-",
                _ids(report.findings),
            )
            for report in group
        ]
        enforced = sum(report.enforced for report in group)
        rows, extras = (sum(getattr(report, name) or 0 for report in group) for name in ("rows", "extras"))
        last = ("total", f"{enforced:,}", f"{rows:,}", f"{extras:,}", "", f"{_clean(group):,} clean")
        _write(title, header, [*body, last], group, style, file)


def preflight_schemas_json(reports: Sequence[DuplicateReport]) -> dict[str, Any]:
    """Return the objects of the schemas, and their totals."""
    return {"places": [preflight_json(report) for report in reports], "totals": _totals(reports)}


def verify_schemas_json(reports: Sequence[VerifyReport]) -> dict[str, Any]:
    """Return the objects of the schemas, and their totals."""
    totals: dict[str, int] = {"places": len(reports), "ok": sum(report.ok for report in reports)}
    for name in ("rows", "extras"):
        totals[name] = sum(getattr(report, name) or 0 for report in reports)
    return {"places": [verify_json(report) for report in reports], "totals": totals}


def run_totals(runs: Sequence[Run]) -> str:
    """Return in one line how many runs are in each state, and what they hold."""
    states: dict[str, int] = {}
    for run in runs:
        states[run.state] = states.get(run.state, 0) + 1
    archived, restored = sum(run.archived for run in runs), sum(run.restored for run in runs)
    held = size(sum(run.archive_bytes or 0 for run in runs))
    in_states = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))
    return (
        f"{quantity(len(runs), 'run')}: {in_states or 'none'}; {quantity(archived, 'row')} archived, "
        f"{restored:,} restored; archives of {held}"
    )


def _totals(reports: Sequence[DuplicateReport]) -> dict[str, int]:
    totals = {"places": len(reports), "clean": _clean(reports)}
    for name in _COUNTS:
        totals[name] = sum(getattr(report.counts, name) for report in reports if report.counts)
    return totals


def _clean(reports: Iterable[Report]) -> int:
    """Return in how many schemas no finding is more than an info."""
    return sum(all(finding.severity == "info" for finding in report.findings) for report in reports)


def _by_key(reports: Sequence[Any]) -> list[tuple[str, list[Any]]]:
    """Return the reports of each key, with what it is about."""
    keys: dict[tuple[object, ...], list[Any]] = {}
    for report in reports:
        key: UniqueKey = report.key
        keys.setdefault((key.table, key.columns, key.where, key.name), []).append(report)
    titles = []
    for group in keys.values():
        key = group[0].key
        name = f", {key.name}" if key.name else ""
        where = f" WHERE {key.where}" if key.where else ""
        titles.append(f"{key.table} ({', '.join(key.elements)}){where}{name}: {quantity(len(group), 'schema')}")
    return list(zip(titles, keys.values(), strict=True))


def _shown(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _ids(findings: Iterable[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.id for finding in findings if finding.severity != "info")) or "-"


def _write(
    title: str,
    header: Sequence[str],
    body: Sequence[Sequence[str]],
    reports: Sequence[Report],
    style: str,
    file: IO[str],
) -> None:
    if style == "markdown":
        file.write(f"### {title}\n\n")
        write_markdown_table(header, body, file)
    else:
        out = console(file)
        out.print(Text(title, style="bold"))
        widths = [max(len(row[column]) for row in (header, *body)) for column in range(len(header))]
        for number, row in enumerate((header, *body)):
            last = len(header) - 1
            cells = [
                cell.ljust(width) if column in (0, last) else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            line = Text("  " + plain("  ".join(cells)).rstrip(), style="bold" if number in (0, len(body)) else "")
            out.print(line, soft_wrap=True)
    for first, schemas in _kinds(reports):
        of = f"in {quantity(len(schemas), 'schema')}: {', '.join(schemas[:5])}{', …' if len(schemas) > 5 else ''}"
        example = f"{first.message} {first.help}"
        if style == "markdown":
            file.write(f"- **{first.severity}** `{first.id}` {of}. In the first: {example}\n")
        else:
            head = Text.assemble(("  " + first.severity, STYLES[first.severity]), plain(f" [{first.id}] {of}"))
            print_hanging(head, 4, out)
            print_hanging(Text("    " + plain(example), style="dim"), 4, out)
    file.write("\n")


def _kinds(reports: Sequence[Report]) -> list[tuple[Finding, list[str]]]:
    """Return the first finding of each kind that is more than an info, with all schemas that have one."""
    kinds: dict[str, tuple[Finding, list[str]]] = {}
    for report in reports:
        for finding in report.findings:
            if finding.severity != "info":
                schemas = kinds.setdefault(finding.id, (finding, []))[1]
                if str(report.key.schema) not in schemas:
                    schemas.append(str(report.key.schema))
    return list(kinds.values())
