"""Create a unique constraint from a finished index."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.constraint.existing_index import settled
from dupe_audit.constraint.rounds import Cleaning, Rounds
from dupe_audit.constraint.tree import Tree
from dupe_audit.constraint.work import ConstraintWork, constraint_form, work_on
from dupe_audit.model import BuildRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import run_lock
from dupe_audit.postgres.session import step
from dupe_audit.statements import ident, literal, statement


def enforce(
    connection: Connection,
    key: UniqueKey,
    rule: BuildRule,
    *,
    clean_again: Cleaning | None = None,
    clean_held: Cleaning | None = None,
    ranking_seconds: Callable[..., float] = lambda *_: 0.0,
    revision: str | None = None,
    undoing: bool = False,
    in_place_of: str | None = None,
) -> int:
    """Create the constraint of *key* while the application writes; killed anywhere, the same call continues.

    It does not record success: the caller verifies, then records in the ledger that the run, whose id is returned,
    enforces the key.

    Args:
        connection: in autocommit.
        key: with the name of the constraint.
        rule: limits on waits and on the number of builds.
        clean_again: archives the extras that have arrived, of a tree in the leaf that it is given, and returns how
            many; None if nothing may be cleaned.
        clean_held: does the same inside an open transaction that holds the writers; None if it must not be done there.
        ranking_seconds: returns how long ranking the whole table took, if the cleanings rank only what has arrived;
            a build is not expected to take longer.
        revision: the Alembic revision to record in the ledger.
        undoing: whether a downgrade of that revision re-creates the constraint; then its former run continues, and an
            index that this run had adopted still counts as adopted.
        in_place_of: the constraint whose name the new one gets afterwards (``swap``).

    Raises:
        Refused: the name is taken by something else, or there are duplicates and nothing may be cleaned.
        DuplicatesKeepComing: new duplicates stopped at least ``rule.build_attempts`` builds, for
            ``rule.give_up_after``.
        Blocked: a lock was not acquired, or the build waited for one transaction or ended in deadlocks, for
            ``rule.give_up_after``.
        DupeAuditError: the table does not exist.
        Interrupted: the user stopped the work.
    """
    with step(connection):
        key, relation = catalog.require(connection, key)
        with run_lock(connection, relation.relid, give_up_after=rule.give_up_after):
            relation = catalog.still_named(connection, relation)
            relid = str(relation.relid)
            choice = (
                ledger.to_enforce_again(relid, key, revision=revision, final=in_place_of)
                if undoing
                else ledger.to_enforce(relid, key, revision=revision)
            )
            run_id = _find_or_open_run(connection, relation, key, revision, choice)
            work = work_on(connection, relation, key, rule, run_id, keeps_adopted=undoing)
            held = None if work.of_citus else clean_held  # a lock on a table of Citus does not stop writers on workers
            if relation.is_tree:
                Tree(work, clean_again, clean_held, ranking_seconds).enforce()
            else:
                state = settled(work) or Rounds(work, clean_again, held, ranking_seconds).build()
                if key.form == "constraint" and state.constraint is None:
                    _attach(work)
            if key.form == "index":
                execute(connection, _adopt(work))
            _comment(work)
            return run_id


def _find_or_open_run(
    connection: Connection, relation: catalog.Relation, key: UniqueKey, revision: str | None, choice: ledger.Choice
) -> int:
    """Return the run that this constraint belongs to; open one if the key was never cleaned for it."""
    if chosen := ledger.find_run(connection, relation.relid, choice, owner=relation.owner):
        return chosen.run.id
    return ledger.open_run(connection, relid=relation.relid, key=key, rule=None, revision=revision)


def _adopt(work: ConstraintWork) -> str:
    """Return the statement that records an index which the run did not build, so that the downgrade keeps it."""
    return statement("adopt_index", run=literal(work.run_id), relid=str(work.relation.relid), name=literal(work.name))


def _attach(work: ConstraintWork) -> None:
    # At once, so that the downgrade always knows whether the index existed before the upgrade.
    adopt = _adopt(work)
    attach = statement("attach", table=work.relation.name, name=ident(work.name), form=constraint_form(work.key))
    work.execute_briefly(adopt, attach, action=f"attach the index as constraint {work.name}")


def _comment(work: ConstraintWork) -> None:
    if work.rule.comment is not None:
        comment = literal(work.rule.comment)
        sql = (
            statement("comment_index", index=work.index, comment=comment)
            if work.key.form == "index"
            else statement("comment_constraint", name=ident(work.name), table=work.relation.name, comment=comment)
        )
        work.execute_briefly(sql, action=f"comment on {work.key.form} {work.name}")
