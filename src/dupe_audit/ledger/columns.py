"""Whether archived values can be restored to their columns: same name, same type, same column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from dupe_audit.errors import DupeAuditError
from dupe_audit.ledger.tables import after_name, archive_name, relation_exists
from dupe_audit.model import Run
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import fill_known, literal, statement, template


def adopt_columns(connection: Connection, run_id: int, relid: int) -> None:
    """Give the archive the columns that the table has gained since, and record all by name and number.

    Raises:
        DupeAuditError: a column has another type than in the archive, so its values could not be restored unchanged.
    """
    _adopt(connection, archive_name(run_id), relid)
    if relation_exists(connection, after_name(run_id)):
        _adopt(connection, after_name(run_id), relid)
    execute(connection, statement("record_columns", run=str(run_id), relid=str(relid)))


def _adopt(connection: Connection, archive: str, relid: int) -> None:
    drift = statement("archive_drift", relid=str(relid), archive=literal(archive))
    for column in execute(connection, drift).mappings():
        name, type_ = column["name"], column["type"]
        if column["archived_type"] is not None:
            raise DupeAuditError(
                f"Column {name} is {type_} in the table, but {column['archived_type']} in {archive}. "
                "Restore or purge that run first (dupe-audit runs lists it), then run the same command again."
            )
        added = {"archive": archive, "column": name, "type": type_, "filling": column["filling"]}
        execute(connection, statement("add_archive_column", **added))
        if column["filler"]:
            execute(connection, statement("drop_column_filler", archive=archive, column=name, filler=column["filler"]))


def fragments(connection: Connection, run: Run, relation: Relation, lead: str) -> Mapping[str, str]:
    """Return what fills the statements that put a run's rows back.

    Args:
        lead: what was not done, as a sentence.

    Raises:
        DupeAuditError: an archived column is missing from the table, has another type, or is another column now.
    """
    archive, comparison = archive_name(run.id), _compare(connection, run, relation)
    for difference, columns in (("no longer has", comparison["gone"]), ("has another type for", comparison["retyped"])):
        if columns:
            raise DupeAuditError(
                f"Table {relation.name} {difference} {columns}, so archived values would be lost. "
                f"{lead} Change the table back, or move the rows by hand from {archive}."
            )
    _require_positions(comparison, run, relation, lead)
    filled = {name: str(value) for name, value in comparison.items() if value is not None}
    return {**filled, **_image_fragments(connection, run, relation, lead), "table": relation.name, "archive": archive}


def _image_fragments(connection: Connection, run: Run, relation: Relation, lead: str) -> dict[str, str]:
    """Return what fills the statements that change rows back; empty if the run changed none.

    Raises:
        DupeAuditError: the table that has these rows as the run left them is missing, or a primary key is.
    """
    if not run.images:
        return {}
    after = after_name(run.id)
    if not relation_exists(connection, after):
        raise DupeAuditError(
            f"Table {after} is missing. It held the changed rows as run {run.id} left them. {lead} Restore it from a "
            f"backup. {archive_name(run.id)} has the rows as they were before."
        )
    sql = statement("image_fragments", relid=str(relation.relid), run=str(run.id), after=literal(after))
    row = execute(connection, sql).mappings().one()
    holes = {name: str(value) for name, value in row.items() if value is not None}
    if "t_is_f" not in holes:
        raise DupeAuditError(
            f"Table {relation.name} no longer has the primary key by which run {run.id} would find the rows that it "
            f"changed. {lead} Create that primary key again, then run the same command again."
        )
    return {**holes, "after": after}


def with_set_back(connection: Connection, holes: Mapping[str, str]) -> Mapping[str, str]:
    """Return what fills the statements that put a run's rows back, with the columns that are changed back."""
    if "set_back_of_rows" not in holes:
        return holes
    set_back = execute(connection, fill_known(template("set_back"), holes)).scalar_one()
    return {**holes, "set_back": str(set_back)}


def require_positions(connection: Connection, run: Run, relation: Relation, lead: str) -> None:
    """Refuse a table whose columns were renamed since the run archived rows of it.

    Args:
        lead: what was not done, as a sentence.

    Raises:
        DupeAuditError: a column's name belongs to another column now.
    """
    _require_positions(_compare(connection, run, relation), run, relation, lead)


def _compare(connection: Connection, run: Run, relation: Relation) -> dict[str, Any]:
    archive = literal(archive_name(run.id))
    sql = statement("restore_fragments", relid=str(relation.relid), archive=archive, run=str(run.id))
    return dict(execute(connection, sql).mappings().one())


def _require_positions(comparison: Mapping[str, Any], run: Run, relation: Relation, lead: str) -> None:
    if moved := comparison["moved"]:
        subject = (
            f"Columns {moved} of table {relation.name} are at other positions"
            if ", " in moved
            else (f"Column {moved} of table {relation.name} is at another position")
        )
        raise DupeAuditError(
            f"{subject} than when run {run.id} archived its rows: columns were renamed, so values could be restored to "
            f"the wrong one. {lead} Rename the columns back. "
            "If each column still means what its name says, let names alone decide, as the ledger's owner: "
            f"UPDATE dupe_audit.run SET archived_numbers = NULL WHERE id = {run.id};"
        )
