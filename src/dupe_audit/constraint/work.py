"""Connection, table, key and rule of the work on one constraint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from dupe_audit import citus, ledger
from dupe_audit.model import BuildRule, IndexState, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import execute_at_once
from dupe_audit.postgres.work import Work
from dupe_audit.statements import ident, literal, statement


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstraintWork(Work):
    """What creating, replacing or dropping one constraint needs."""

    key: UniqueKey
    rule: BuildRule
    run_id: int | None
    keeps_adopted: bool = False  #: whether the new index replaces one that existed before the upgrade
    leaf: int | None = None  #: of a table below the root of a tree, its number in the ledger
    is_default: bool = False  #: whether it is on a DEFAULT partition, which whoever creates another one locks
    of_citus: bool = False  #: whether Citus manages the table

    @property
    def name(self) -> str:
        """The name of the constraint and its index."""
        return str(self.key.name)

    @property
    def index(self) -> str:
        """The index, qualified and quoted."""
        return ident(self.relation.schema, self.name)

    @property
    def build_sql(self) -> str:
        """The statement that builds the index concurrently, with the storage parameters of the one it replaces."""
        return catalog.build_index_sql(self.key, self.relation.name, options=self._options)

    @property
    def held_build_sql(self) -> str:
        """The same, for a transaction that holds the writers."""
        return catalog.build_index_sql(self.key, self.relation.name, options=self._options, held=True)

    @property
    def _options(self) -> str:
        if not self.keeps_adopted:
            return ""
        sql = statement("adopted_options", run=literal(self.run_id))
        return str(execute(self.connection, sql).scalar_one())

    def mark_building(self) -> None:
        """Record, before a build, that an index of that name is ours to drop if it stays invalid (H52)."""
        if self.leaf is None:
            ledger.mark_building(self.connection, self.run_id, self.name, keeps_adopted=self.keeps_adopted)
        else:
            ledger.mark_leaf_building(self.connection, self.leaf, self.name, building=True)

    def mark_not_building(self) -> None:
        """Record that no build of ours left an index, so that another session's does not count as ours."""
        if self.leaf is None:
            ledger.mark_not_building(self.connection, self.run_id)
        else:
            ledger.mark_leaf_building(self.connection, self.leaf, None, building=False)

    def is_building(self) -> bool:
        """Return whether a build of ours may have left an index of that name."""
        if self.leaf is None:
            return ledger.is_building(self.connection, self.relation.relid, self.name)
        return ledger.is_leaf_building(self.connection, self.leaf)

    def state(self) -> IndexState | None:
        """Return the state of the index that has the name now; None if there is none."""
        return catalog.index_state(self.connection, self.relation.relid, self.key)

    def execute_briefly(self, *statements: str, action: str) -> None:
        """Execute statements that take a strong lock, in one message that also commits them; retry for the lock."""
        if self.of_citus:
            statements = (*citus.propagated(self.lock_timeout), *statements)
        self.retry(partial(execute_at_once, self.connection, *statements, lock_timeout=self.lock_timeout), action)


def work_on(
    connection: Connection,
    relation: catalog.Relation,
    key: UniqueKey,
    rule: BuildRule,
    run_id: int | None,
    *,
    keeps_adopted: bool = False,
) -> ConstraintWork:
    """Return the work on one constraint, with the limits of its rule."""
    return ConstraintWork(
        connection=connection,
        relation=relation,
        lock_timeout=rule.lock_timeout,
        give_up_after=rule.give_up_after,
        key=key,
        rule=rule,
        run_id=run_id,
        keeps_adopted=keeps_adopted,
        of_citus=citus.find_citus(connection, relation.relid) is not None,
    )


def constraint_form(key: UniqueKey) -> str:
    """Return how a constraint of a key is checked, as SQL that begins with a space; empty if at once."""
    return f" DEFERRABLE INITIALLY {key.initially}" if key.deferrable else ""
