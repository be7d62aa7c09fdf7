"""Replace a constraint with another of the same name, or rename it; and find what prevents dropping one."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.constraint.names import inherited, is_mistaken, is_mistaken_index, name_owner
from dupe_audit.constraint.work import work_on
from dupe_audit.errors import Refused
from dupe_audit.findings import Finding, finding
from dupe_audit.model import BuildRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.locking import run_lock
from dupe_audit.postgres.missing_table import missing_table
from dupe_audit.postgres.session import step
from dupe_audit.statements import ident, statement


def temporary_name(key: UniqueKey) -> str:
    """Return the name under which the successor of a constraint is built while the old one still has the name.

    It depends on the name alone, so a killed upgrade finds what it has built.
    """
    return f"dupe_audit_next_{hashlib.sha256(str(key.name).encode()).hexdigest()[:16]}"


def has_definition(connection: Connection, key: UniqueKey, name: str) -> bool:
    """Return whether the constraint of that name on the key's table is exactly what *key* asks for."""
    match = catalog.find(connection, key)
    if match is None:
        return False
    state = catalog.index_state(connection, match[1].relid, replace(key, name=name))
    owner = name if key.form == "constraint" else None
    return bool(
        state and state.valid and state.same_definition and state.constraint == owner and state.same_constraint_form
    )


def is_absent(connection: Connection, key: UniqueKey) -> bool:
    """Return whether the key's table has neither a constraint nor an index of that name."""
    match = catalog.find(connection, key)
    if match is None:
        return True
    owner = name_owner(connection, match[1], str(key.name))
    return not (owner.kind or owner.is_index)


def drop_findings(connection: Connection, key: UniqueKey, *, keeps_adopted: bool = True) -> list[Finding]:
    """Return what prevents dropping the constraint of that name; its columns are not compared.

    Args:
        keeps_adopted: as for ``drop``.
    """
    match = catalog.find(connection, key)
    if match is None:
        return [missing_table(connection, key, subject=key.table)]
    _, relation = match
    owner = name_owner(connection, relation, str(key.name))
    run = ledger.find_by_constraint(connection, relation.relid, str(key.name))
    findings = []
    if key.form == "index":
        if mistaken := is_mistaken_index(owner):
            findings.append(finding("not-a-unique-index", f"{key.name} is {mistaken}", table=relation.name))
    elif mistaken := is_mistaken(connection, owner, run):
        findings.append(finding("not-a-constraint", f"{key.name} is {mistaken}", table=relation.name))
    findings += inherited(owner, relation)
    if owner.foreign_keys:
        findings.append(finding("constraint-in-use", f"foreign keys ({owner.foreign_keys})", table=relation.name))
    stays = keeps_adopted and run and ledger.has_adopted(connection, run.id)  # or an index like it exists afterwards
    if owner.publications and not stays:
        subject = f"publications ({owner.publications}), for which its index is the replica identity"
        findings.append(finding("constraint-in-use", subject, table=relation.name))
    return findings


def rename(connection: Connection, key: UniqueKey, old: str, rule: BuildRule) -> None:
    """Give the constraint *old* the name of *key*, whose definition it has; the ledger follows.

    Raises:
        Blocked: the lock was not acquired within ``rule.give_up_after``.
        DupeAuditError: the table does not exist.
        Interrupted: the user stopped the work.
    """
    with step(connection):
        key, relation = catalog.require(connection, key)
        with run_lock(connection, relation.relid, give_up_after=rule.give_up_after):
            relation = catalog.still_named(connection, relation)
            run = ledger.find_by_constraint(connection, relation.relid, old)
            marks = ledger.mark_enforced_sql(run.id if run else None, str(key.name))
            statements = [*marks, _rename_sql(relation, key, old)]
            work = work_on(connection, relation, key, rule, run.id if run else None)
            work.execute_briefly(*statements, action=f"rename {key.form} {old} to {key.name}")


def swap(connection: Connection, key: UniqueKey, temporary: str, rule: BuildRule) -> None:
    """Drop the constraint that has the name of *key*, and give that name to its successor, in one transaction.

    Raises:
        Blocked: the lock was not acquired within ``rule.give_up_after``.
        Refused: the name does not belong to a unique constraint or index of the table.
        DupeAuditError: the table does not exist.
        sqlalchemy.exc.DBAPIError: a foreign key depends on the old constraint.
        Interrupted: the user stopped the work.
    """
    name = str(key.name)
    with step(connection):
        key, relation = catalog.require(connection, key)
        with run_lock(connection, relation.relid, give_up_after=rule.give_up_after):
            relation = catalog.still_named(connection, relation)
            old = ledger.find_by_constraint(connection, relation.relid, name)
            new = ledger.find_by_constraint(connection, relation.relid, temporary)
            state = catalog.index_state(connection, relation.relid, key)
            statements = []
            if old and (dropped := ledger.set_dropped_sql(old)):
                statements += [ledger.record_index_sql(str(old.id), str(relation.relid)), *dropped]
            statements += ledger.mark_enforced_sql(new.id if new else None, name)
            owner = name_owner(connection, relation, name)
            if state and state.constraint == name:
                statements.append(statement("drop_constraint", table=relation.name, name=ident(name)))
            elif owner.is_unique and not owner.kind:
                statements.append(statement("drop_index_at_once", index=ident(relation.schema, name)))
            elif state:
                # The name is searched in the whole schema, so it can belong to another table.
                subject = f"{ident(relation.schema, name)}, which is not a unique constraint or index of the table"
                raise Refused(
                    [finding("name-taken", subject, table=relation.name)],
                    lead=f"Nothing was replaced. The new {key.form} exists as {temporary}.",
                )
            statements.append(_rename_sql(relation, key, temporary))
            work = work_on(connection, relation, key, rule, new.id if new else None)
            work.execute_briefly(*statements, action=f"replace {key.form} {name}")


def _rename_sql(relation: catalog.Relation, key: UniqueKey, old: str) -> str:
    """Return the statement that gives what is called *old* the name of *key*."""
    new = ident(str(key.name))
    if key.form == "index":
        return statement("rename_index", index=ident(relation.schema, old), former=new)
    return statement("rename_constraint", table=relation.name, old=ident(old), new=new)
