"""Whether archived rows can be restored: to which table, and whether all of them still exist.

A constraint is dropped, and a row put back, only after these questions.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.ledger import columns
from dupe_audit.ledger.choice import table_condition, to_restore
from dupe_audit.ledger.keys import key_condition
from dupe_audit.ledger.runs import RecordedRun, find_by_constraint, find_run, find_runs
from dupe_audit.ledger.tables import archive_name, exists, relation_exists
from dupe_audit.ledger.trust import require_trusted, untrusted
from dupe_audit.model import Run, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement

#: runs whose rows are in the archive and nowhere else
OUTSTANDING = "r.archived + r.amended + r.merged > r.restored + r.reverted + r.erased AND r.purged_at IS NULL"


def run_to_drop(connection: Connection, relation: Relation, name: str) -> Run | None:
    """Return the run of a constraint that is about to be dropped; None if it was never cleaned.

    Raises:
        Refused: rows of that run, or of a run of another table of this name, could not be put back afterwards.
        DupeAuditError: the same, because of the table's columns.
    """
    run = find_by_constraint(connection, relation.relid, name)
    if run is None:
        condition = f"r.constraint_name = {literal(name)}"
        _refuse(lost(connection, relation, condition), lead="Nothing was dropped.")
    elif run.purged_at is None and run.state != "restored":
        require_way_back(connection, run, relation, lead="Nothing was dropped.")
    return run


def has_run(connection: Connection, relation: Relation) -> bool:
    """Return whether the ledger has a run of a table, of whatever key."""
    return bool(runs_of_table(connection, relation))


def runs_of_table(connection: Connection, relation: Relation) -> list[Run]:
    """Return the runs of a table, of whatever key, oldest first."""
    runs = find_runs(connection, table_condition(str(relation.relid)), relid=relation.relid)
    return [run for run, _ in runs]


def run_to_restore(
    connection: Connection, relation: Relation, key: UniqueKey, *, revision: str | None = None
) -> RecordedRun | None:
    """Return the run of a key whose rows are about to be put back; None if the ledger has none.

    Args:
        revision: the Alembic revision that is undone; its own run comes first, then the newest.

    Raises:
        Refused: rows of such a run are archived, but the run or its table is another one.
    """
    latest = find_run(connection, relation.relid, to_restore(str(relation.relid), key, revision=revision))
    if latest is None:
        condition = key_condition("coalesce(live.oid, r.relid)", key)
        _refuse(lost(connection, relation, condition), lead="Nothing was restored.")
    return latest


def lost(connection: Connection, relation: Relation, condition: str) -> list[Finding]:
    """Return why rows that were archived from a table of this name cannot be put back into this one.

    Args:
        condition: about the run ``r``, besides the name of its table.
    """
    if not exists(connection, relid=relation.relid):
        return []
    named = f"r.schema_name = {literal(relation.schema)} AND r.table_name = {literal(relation.table)}"
    elsewhere = f"live.oid IS DISTINCT FROM {relation.relid}::pg_catalog.oid"
    runs = find_runs(connection, f"{OUTSTANDING} AND {named} AND {elsewhere} AND ({condition})", relid=relation.relid)
    findings = [finding("table-replaced", _whereabouts(run), table=relation.name) for run, _ in runs]
    return findings + [
        finding("run-missing", f"archive {name} fits the table") for name in _without_run(connection, relation)
    ]


def _whereabouts(run: Run) -> str:
    rows = quantity(run.remaining, "row")
    where = f"is named {run.relation} now" if run.relation else "was dropped, or is not known"
    return f"run {run.id} archived {rows} of a table that {where}"


def _without_run(connection: Connection, relation: Relation) -> list[str]:
    """Return the archives of such a table whose run the ledger lacks: it was lost, or not restored from a backup."""
    sql = statement("archives_without_run", run_objects=statement("run_objects", relid=str(relation.relid)))
    return [f"dupe_audit.{name}" for name in execute(connection, sql).scalars()]


def require_unused(connection: Connection, run_id: int) -> None:
    """Refuse tables that a run would create, if they exist although it has just been opened.

    Raises:
        Refused: somebody else created them.
    """
    sql = statement("objects_of_run", run_objects=statement("run_objects", relid="0"), run=literal(str(run_id)))
    if objects := execute(connection, sql).scalars().all():
        names = ", ".join(f"dupe_audit.{name}" for name in objects)
        raise Refused(
            [finding("untrusted-ledger", f"run {run_id} has just been opened, but {names} exists")],
            lead="No row was changed.",
        )


def require_way_back(connection: Connection, run: Run, relation: Relation, *, lead: str) -> Mapping[str, str]:
    """Return what fills the statements that put a run's rows back; empty if there is nothing to put back.

    Args:
        relation: the table of the run.
        lead: what was not done, as a sentence.

    Raises:
        Refused: the archive is gone, is not complete or belongs to somebody else.
        DupeAuditError: an archived column is missing from the table, has another type, or is another column now.
    """
    require_trusted(connection, relid=relation.relid, run_id=run.id)
    if not relation_exists(connection, archive_name(run.id)):
        _refuse(_sum_findings(connection, run), lead=lead)
        return {}
    if not _readable(connection, archive_name(run.id)):
        _refuse([finding("missing-privilege", f"SELECT ON {archive_name(run.id)}")], lead=lead)
    fragments = columns.fragments(connection, run, relation, lead)
    _refuse(_sum_findings(connection, run), lead=lead)
    return fragments


def require_continuable(connection: Connection, run: Run, relation: Relation) -> None:
    """Refuse to continue a run whose archive is not its own, or whose columns were renamed since.

    Raises:
        Refused: a role that is not trusted owns the archive, the staged list or a record.
        DupeAuditError: a column's name belongs to another column now.
    """
    require_trusted(connection, relid=relation.relid, run_id=run.id)
    if relation_exists(connection, archive_name(run.id)):
        columns.require_positions(connection, run, relation, "No row was changed.")


def archive_findings(connection: Connection, run: Run) -> list[Finding]:
    """Return what is wrong with the sums of a run: the run, its batches and its archive have to agree."""
    if run.purged_at is not None:
        return []
    relid = run.relid if run.relation else None
    return untrusted(connection, relid=relid, run_id=run.id, reading=True) or _sum_findings(connection, run)


def _sum_findings(connection: Connection, run: Run) -> list[Finding]:
    """Return what is wrong with the sums of a run whose tables were judged immediately before."""
    if run.purged_at is not None:
        return []
    archive = archive_name(run.id)
    if not relation_exists(connection, archive):
        return [finding("archive-missing", run.id)] if run.remaining > 0 else []
    if not _readable(connection, archive):
        return []
    batches = execute(connection, statement("batch_sums", run=str(run.id))).one()
    rows = execute(connection, statement("archive_sums", archive=archive)).one()
    findings = []
    for name, in_run, in_archive in (
        ("archived", run.archived + run.images, rows.archived + run.erased),
        ("restored", run.restored + run.reverted, rows.restored),
    ):
        sums = {"run": in_run, "batches": getattr(batches, name), "archive": in_archive}
        if len(set(sums.values())) > 1:
            texts = ", ".join(f"{source} {number:,}" for source, number in sums.items())
            findings.append(finding("ledger-mismatch", f"run {run.id}, {name}: {texts}"))
    return findings


def _readable(connection: Connection, archive: str) -> bool:
    """Return whether this role may read an archive; a role that only looks at the ledger need not."""
    sql = statement("may_read_archive", archive_name=literal(archive))
    return bool(execute(connection, sql).scalar_one())


def _refuse(findings: list[Finding], *, lead: str) -> None:
    if findings:
        raise Refused(findings, lead=lead)


def require_table(connection: Connection, run: Run) -> Relation:
    """Return the table of a run as it is named now.

    Raises:
        DupeAuditError: it was dropped, or the ledger does not show which table it is.
    """
    relation = catalog.find_by_oid(connection, run.relid) if run.relation else None
    if relation is None:
        name = f"{run.schema_name}.{run.table_name}"
        raise DupeAuditError(
            f"The table of run {run.id}, {name}, was dropped, or dropped and re-created, after the cleanup. Nothing "
            f"was changed. Its rows are in {archive_name(run.id)}: insert them by hand, or drop them with dupe-audit "
            f"purge {run.id}. If the table exists under another name, because the ledger comes from another database "
            "or an earlier version, enter that name as the ledger's owner, then run the same command again: "
            f"UPDATE dupe_audit.run SET relation = 'SCHEMA.TABLE', schema_name = 'SCHEMA', table_name = 'TABLE' "
            f"WHERE id = {run.id};"
        )
    return relation
