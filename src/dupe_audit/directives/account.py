"""What a failed revision has committed, how to continue, and how to undo it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from dupe_audit import ledger
from dupe_audit.directives.execution import Execution
from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import quantity
from dupe_audit.model import Run, UniqueKey
from dupe_audit.postgres import catalog


def account(execution: Execution, connection: Connection | None, keys: Iterable[UniqueKey]) -> str:
    """Return what the revision has committed so far and what to do now, as text; empty if it has committed nothing.

    Args:
        connection: in autocommit; None if it was lost, and only this process's own record is left.
        keys: of the revision's directives, with the schemas of their tables.
    """
    runs = _runs(execution, connection, keys)
    done = [_committed_work(run, name, restoring=not execution.upgrading) for run, name in runs]
    done = [*filter(None, done), *execution.facts] if runs else execution.committed
    campaign = execution.campaign.fact(connection) if execution.campaign else ""
    done += [campaign] if campaign else []
    if not done:
        return ""
    name = f"Revision {execution.revision}" if execution.revision else "The work"
    lines = [f"{name} failed, but what it had committed stays: {'; '.join(done)}."]
    lines.append("To continue, remove the cause and run the same command again.")
    if execution.upgrading:
        numbers = [run.id for run, _ in runs] or list(execution.runs)
        if numbers:
            commands = ", then ".join(f"dupe-audit restore {number}" for number in sorted(numbers, reverse=True))
            drops = ", which drops the constraint of the run first and then puts its rows back"
            lines.append(f"To undo it: {commands}{drops}.")
            if execution.facts:
                lines.append(
                    "That does not undo drops, replacements and renames. To undo those too, complete the upgrade, "
                    "then downgrade."
                )
        if campaign and execution.campaign.number:
            lines.append(
                f"To undo it: dupe-audit restore --campaign {execution.campaign.number}"
                ", which for each run drops the constraint first and then puts its rows back."
            )
        if execution.revision:
            before = f", {execution.previous}" if execution.previous else ""
            lines.append(
                f"Do not run alembic downgrade: revision {execution.revision} was not stamped, so that would undo the "
                f"revision before it{before}."
            )
    elif execution.revision:
        lines.append(f"Alembic still considers revision {execution.revision} applied.")
    return " ".join(lines)


def _runs(execution: Execution, connection: Connection | None, keys: Iterable[UniqueKey]) -> list[tuple[Run, str]]:
    """Return the runs of the revision that are not restored, by the ledger, each with its key in words."""
    if connection is None:
        return []
    runs: dict[int, tuple[Run, str]] = {}
    try:
        for key in keys:
            match = catalog.find(connection, key)
            latest = ledger.find_latest(connection, match[1].relid, key) if match else None
            if match and latest and _belongs(latest.run, execution):
                runs.setdefault(latest.run.id, (latest.run, str(match[0])))
    except (SQLAlchemyError, DupeAuditError):
        return []
    return [runs[number] for number in sorted(runs)]


def _belongs(run: Run, execution: Execution) -> bool:
    if not execution.upgrading:
        return run.id in execution.runs
    return run.state != "restored" and (run.revision == execution.revision or run.id in execution.runs)


def _committed_work(run: Run, name: str, *, restoring: bool) -> str:
    """Return in words what a run has committed; empty if that is nothing."""
    done = []
    if restoring and (restored := run.restored + run.reverted):
        done.append(f"has restored {restored:,} of {quantity(restored + run.remaining, 'row')} of {name}")
    elif not restoring and run.outstanding:
        done.append(f"has {run.outstanding} of {name}")
    if run.state == "enforced":
        done.append(f"enforces {name} as {run.constraint_name}")
    return f"run {run.id} {' and '.join(done)}" if done else ""
