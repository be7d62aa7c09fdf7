"""Verify a constraint or an index that a person names; what was not given is read from the catalog."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.findings import Finding
from dupe_audit.model import Expression, UniqueKey, VerifyReport
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.index_key import named_key
from dupe_audit.statements import statement
from dupe_audit.verify.report import missing, verify_as


def verify_named(
    connection: Connection,
    *,
    table: str,
    name: str,
    schema: str | None = None,
    columns: tuple[str | Expression, ...] = (),
    where: str | None = None,
    nulls_not_distinct: bool = False,
    work_mem: str | None = None,
) -> VerifyReport:
    """Verify a constraint or an index by its name; what is not given is read from the catalog.

    Args:
        connection: in autocommit.
        table: name as in the catalog, unquoted.
        name: of the constraint, or of an index that belongs to none.
        schema: None searches the search path.
        columns: elements that it has to compare; empty takes its own, and its own predicate.
        where: predicate that it has to have, with *columns*.
        nulls_not_distinct: whether two NULLs have to be equal; False takes the constraint's own rule.
        work_mem: memory for the count's sort, as PostgreSQL writes sizes.

    Raises:
        WrongUsage: a name is not one that PostgreSQL can store.
        DupeAuditError: as ``verify``.
        sqlalchemy.exc.DBAPIError: the connection or a permission failed.
    """
    key = UniqueKey(table=table, schema=schema, name=name, columns=columns or (name,), where=where)
    if not key.is_plain:
        key = replace(key, form="index")
    match = catalog.find(connection, key)
    existing = named_key(connection, match[1], match[0]) if match else None
    if match and existing is None and not columns:
        absent = _with_names(connection, match[1], missing(key, match[1]), name)
        return VerifyReport(key=key, index=None, extras=None, run=None, findings=(absent,))
    is_its_own = False
    if match and existing:
        own, usual_equality = existing
        is_its_own = usual_equality and not columns
        if columns:
            own = replace(own, columns=columns, where=where, form=own.form if key.is_plain else "index")
        elif not own.is_plain:
            own = _as_recorded(connection, match[1], own)
        key = replace(own, nulls_not_distinct=nulls_not_distinct or own.nulls_not_distinct)
        is_its_own = is_its_own and key.nulls_not_distinct == own.nulls_not_distinct
    else:
        key = replace(key, nulls_not_distinct=nulls_not_distinct)
    report = verify_as(connection, key, work_mem=work_mem, is_its_own=is_its_own)
    if match is None or report.index is not None:
        return report
    findings = (
        _with_names(connection, match[1], each, name) if each.id == "constraint-missing" else each
        for each in report.findings
    )
    return replace(report, findings=tuple(findings))


def _as_recorded(connection: Connection, relation: Relation, key: UniqueKey) -> UniqueKey:
    """Return the key of an index as its run wrote it, so that the ledger finds the run; unchanged without a run."""
    run = ledger.find_by_constraint(connection, relation.relid, str(key.name))
    if run is None:
        return key
    recorded = replace(key, columns=run.key_columns, where=run.where)
    state = catalog.index_state(connection, relation.relid, recorded)
    return recorded if state and state.same_definition else key


def _with_names(connection: Connection, relation: Relation, missing: Finding, name: str) -> Finding:
    """Return a finding about a name that a person gave, with the names that it may have meant."""
    indexes = execute(connection, statement("unique_indexes", relid=str(relation.relid))).all()
    names = sorted(str(row.name) for row in indexes if not row.is_primary or name.endswith("pkey"))
    hint = f"The table has no unique constraint or index{' except its primary key' if indexes else ''}."
    if name in [str(row.name) for row in indexes]:
        hint = (
            f"{name} exists, but is not a unique constraint or a separate unique index; it is probably the primary key."
        )
    elif similar := get_close_matches(name, names, n=3):
        hint = f"Did you mean {' or '.join(similar)}?"
    elif names:
        hint = f"The unique indexes of the table: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}."
    return replace(
        missing, help=f"{hint} If an upgrade was to create {name}: {missing.help[:1].lower()}{missing.help[1:]}"
    )
