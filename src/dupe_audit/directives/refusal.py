"""Refuse a revision before it acts: every reason at once, and what was changed by then."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from alembic.operations import MigrateOperation
from alembic.util import CommandError

from dupe_audit.directives.downgrades import refusals
from dupe_audit.directives.effects import NOTHING, effect
from dupe_audit.directives.execution import Execution
from dupe_audit.directives.operations import (
    AmendDuplicatesOp,
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    CreateUniqueIndexOnlineOp,
    DropUniqueConstraintOnlineOp,
    DropUniqueIndexOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.recording import PlainStatement
from dupe_audit.directives.verdict import Verdict
from dupe_audit.directives.worker import Worker
from dupe_audit.errors import Refused
from dupe_audit.findings import CATALOGUE, Finding
from dupe_audit.preflight import server_findings

log = logging.getLogger("alembic.dupe_audit")

#: the directives as a revision calls them
NAMES = {
    AmendDuplicatesOp: "amend_duplicates",
    ArchiveDuplicatesOp: "archive_duplicates",
    CreateUniqueConstraintOnlineOp: "create_unique_constraint_online",
    CreateUniqueIndexOnlineOp: "create_unique_index_online",
    DropUniqueConstraintOnlineOp: "drop_unique_constraint_online",
    DropUniqueIndexOnlineOp: "drop_unique_index_online",
    RestoreDuplicatesOp: "restore_duplicates",
}


def refuse(worker: Worker, verdicts: Sequence[Verdict], way_back: Sequence[Finding] = ()) -> None:
    """Log the warnings of verdicts, each once, and refuse what cannot succeed or could not be restored.

    Args:
        way_back: errors of the revision's downgrade.

    Raises:
        Refused: a directive cannot succeed, or *way_back* has errors; the message names each table, key and reason.
    """
    execution = worker.execution
    for verdict in verdicts:
        for finding in verdict.findings:
            text = f"{verdict.subject}: [{finding.id}] {finding.message} {finding.help}"
            if finding.severity != "error" and text not in execution.warnings:
                execution.warnings.append(text)
                log.log(logging.WARNING if finding.severity == "warning" else logging.INFO, "%s", text)
    refused = [verdict for verdict in verdicts if verdict.refused]
    if not refused and not way_back:
        return
    findings = [finding for verdict in refused for finding in verdict.findings if finding.severity == "error"]
    changed = _no_change(execution) if not worker.account(worker.connection) else ""
    if len(refused) == 1 and not way_back:
        lead, body = f"Refused: {refused[0].subject}{revision_suffix(execution)}.{changed}", refused[0].text
    else:
        lead = f"Refused: revision {execution.revision}.{changed}"
        reasons = [f"{verdict.subject}, {call_of(verdict.operation)}:\n{verdict.text}" for verdict in refused]
        body = "\n".join([*reasons, *map(_paragraph, way_back)])
    raise Refused([*findings, *way_back], lead=lead, body=body)


def refuse_mistakes(execution: Execution, worker: Worker | None) -> None:
    """Refuse a revision with a directive whose arguments can never work.

    A script is refused too if it could not be undone, or a directive is inside an autocommit block.

    Args:
        worker: names what earlier directives have committed; None for a script.

    Raises:
        CommandError: there is one; the message names all of them, each with its file and line.
    """
    mistakes = execution.recording.mistakes if execution.recording else ()
    reasons = [f"  {mistake.reason}." for mistake in mistakes]
    if mistakes or worker is None:  # otherwise the judgement names it, together with what the database refuses
        reasons += map(_paragraph, refusals(execution))
    if worker is None and execution.recording:
        reasons += [_enclosed(operation, place) for operation, place in execution.recording.enclosed]
    if not reasons:
        return
    if worker is None:
        committed, changed = "", " No SQL was written for its directives."
    else:
        committed = worker.account(worker.connection)
        changed = "" if committed else _no_change(execution)
    lines = [f"Refused: revision {execution.revision}.{changed}", *reasons]
    raise CommandError("\n".join(filter(None, [*lines, committed])))


def refuse_server(worker: Worker) -> None:
    """Refuse a server that is not PostgreSQL, or a pooler in front of it, before anything else is judged.

    Raises:
        Refused: it cannot be used, or a pooler is in front of it and was not accepted.
    """
    execution = worker.execution
    if execution.acted:
        return  # it was judged before the first directive
    errors = [
        finding
        for finding in server_findings(worker.connection)
        if finding.severity == "error"
        and not (finding.id in worker.options.accept and CATALOGUE[finding.id].acceptable)
    ]
    if errors:
        lead = f"Refused: {call_of(execution.current)}{revision_suffix(execution)}.{_no_change(execution)}"
        raise Refused(errors, lead=lead)


def _enclosed(operation: MigrateOperation, place: str) -> str:
    return (
        f"  {call_of(operation)} is inside autocommit_block(){place}, and in a script it would end that block. "
        "Move it out of the block, because it commits by itself, or execute the revision online, without --sql."
    )


def _paragraph(error: Finding) -> str:
    return f"  [{error.id}] {error.message}\n      {error.help}"


def _no_change(execution: Execution) -> str:
    """Return what is true of a revision whose directives have committed nothing."""
    items = execution.recording.items if execution.recording else ()
    for item in items:
        if not isinstance(item, PlainStatement):
            return " No row was changed."
        if effect(item.construct) != NOTHING:
            break
    return " None of its directives has changed a row; the statements before them are committed."


def revision_suffix(execution: Execution) -> str:
    """Return the revision as a message appends it."""
    return f", revision {execution.revision}" if execution.revision else ""


def call_of(operation: MigrateOperation) -> str:
    """Return how a revision calls a directive."""
    return f"op.{NAMES[type(operation)]}()"
