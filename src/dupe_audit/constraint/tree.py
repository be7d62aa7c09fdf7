"""Enforce a key on a partitioned table: build on each leaf, then adopt the parts in an order without deadlocks.

1. Each leaf gets its own index, while the application writes; from then on it has no duplicates.
2. Each level gets the constraint for itself alone (``ONLY``), the root first.
3. Each leaf turns its index into a constraint and attaches it to its level's, in one short transaction.
4. Each inner level attaches its constraint to that of its parent, the deepest first; the last one makes the root valid.

To attach a leaf below a level that is attached already locks everything from the root down; in this order nothing does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.constraint.existing_index import judged, require_quiet, require_same
from dupe_audit.constraint.part_names import part_names
from dupe_audit.constraint.rounds import Cleaning, Rounds
from dupe_audit.constraint.work import ConstraintWork, constraint_form
from dupe_audit.errors import Refused
from dupe_audit.findings import finding
from dupe_audit.model import IndexState
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.trees import Member, is_leaf_of, members
from dupe_audit.postgres.turns import Turns
from dupe_audit.statements import fill_known, ident, statement, template

log = logging.getLogger("alembic.dupe_audit")

#: leaves, each with the work on its parent
_Leaves = Turns[tuple[Member, ConstraintWork]]


class Tree:
    """The work on the constraint of a partitioned table.

    Args:
        work: on the root.
        clean_again: None if nothing may be archived.
        clean_held: the same inside an open transaction that holds the writers; None if it is not possible there.
        ranking_seconds: how long ranking the whole leaf took, if the cleanings rank only what has arrived.
    """

    def __init__(
        self,
        work: ConstraintWork,
        clean_again: Cleaning | None,
        clean_held: Cleaning | None,
        ranking_seconds: Callable[..., float],
    ) -> None:
        self._work = work
        self._cleaning = (clean_again, clean_held, ranking_seconds)
        self._works = {work.relation.relid: work}
        self._entered: dict[int, ledger.Leaf] = {}

    def enforce(self) -> None:
        """Create the constraint or the index of the tree; killed anywhere, the same call continues.

        Raises:
            Refused: a name is taken by something else, or there are duplicates and nothing may be cleaned.
            DuplicatesKeepComing: new duplicates stopped the builds on a leaf, for the whole time.
            Blocked: locks were not acquired in time; whatever needs none of them is done.
        """
        if self._is_enforced():
            return
        # Before the first leaf has an index: a downgrade finds the run, and what it has left, by this name.
        self._work.mark_building()
        self._leaves(attach=False)
        for part in self._members():
            if not part.is_leaf:
                self._level(part)
        # A leaf can arrive at any moment until its level has the constraint, and has it from birth afterwards.
        while self._leaves(attach=True):
            pass
        for part, parent in reversed(self._unattached(leaves=False)):
            self._attach(part, parent, self._part(part).state())
        self._complete()

    def _is_enforced(self) -> bool:
        """Return whether the root has the valid constraint.

        Raises:
            Refused: the name belongs to something else, or to an invalid index that is not ours.
        """
        state = self._work.state()
        if state is None:
            return False
        require_same(self._work, state)
        if self._work.key.form == "constraint" and state.constraint is None:
            # An index of a partitioned table cannot become a constraint (42P17).
            raise Refused(
                [catalog.wrong_definition(self._work.relation, state)],
                lead=f"{self._work.name} is an index, and no index of a partitioned table can become a constraint.",
            )
        if not state.valid and not self._work.is_building():
            raise Refused([finding("invalid-index", self._work.index)], lead="The ledger has no record of its build.")
        return state.valid

    def _members(self) -> list[Member]:
        """Return the tables of the tree now; those that are new are entered into the ledger together."""
        parts = members(self._work.connection, self._work.relation.relid)
        new = [part.relation for part in parts[1:] if part.relation.relid not in self._entered]
        if new:
            work, below = self._work, [part.relation for part in parts[1:]]
            self._entered |= ledger.enter_leaves(work.connection, int(work.run_id or 0), new)
            names = part_names(work.connection, work.relation, work.key, below, self._entered)
            self._entered |= {relid: self._entered[relid]._replace(index_name=name) for relid, name in names.items()}
        return parts

    def _part(self, part: Member) -> ConstraintWork:
        """Return the work on one table of the tree; its index has its own name, which the ledger keeps."""
        work, relation = self._work, part.relation
        if relation.relid in self._works:
            return self._works[relation.relid]
        entered = self._entered[relation.relid]
        key = replace(work.key, table=relation.table, schema=relation.schema, name=entered.index_name)
        self._works[relation.relid] = replace(
            work, relation=relation, key=key, leaf=entered.id, is_default=part.is_default
        )
        return self._works[relation.relid]

    def _leaves(self, *, attach: bool) -> int:
        """Build the index of each leaf that is not attached, and attach it if its parent has one; return how many."""
        missing = self._unattached(leaves=True)
        turns = Turns(missing, self._work.give_up_after, lambda each: each[0].relation.name)
        for part, parent in turns:
            with turns.turn((part, parent)):
                self._leaf(part, parent if attach else None, None if turns.is_last else turns)
        return len(missing)

    def _leaf(self, part: Member, parent: ConstraintWork | None = None, others: _Leaves | None = None) -> None:
        """Build the index of a leaf, and attach it to that of its parent, if that is given.

        Args:
            others: the turns of other leaves that are waiting; None if none are.
        """
        work, leaf = self._part(part), part.relation
        try:
            state = work.state()
            if others and not (state and state.valid):
                require_quiet(work, others.round)
            state = judged(work, state)
            if state is None:
                log.info("building the index of %s", leaf.name)
                state = Rounds(work, *self._cleaning).build()
            if parent is not None:
                self._attach(part, parent, state, others.give_up_after if others else None)
        except DBAPIError:
            if is_leaf_of(work.connection, leaf, self._work.relation.relid):
                raise
            log.warning("%s is no longer a partition of %s", leaf.name, self._work.relation.name)

    def _level(self, part: Member) -> None:
        """Create the constraint or the index on one level alone."""
        work = self._part(part)
        state = work.state()
        if state is not None:
            require_same(work, state)
            return
        work.mark_building()
        key = work.key
        sql = (
            fill_known(
                template("add_only"),
                catalog.definition_holes(key),
                table=part.relation.name,
                name=ident(work.name),
                form=constraint_form(key),
            )
            if key.form == "constraint"
            else catalog.build_index_sql(key, part.relation.name, only=True)
        )
        work.execute_briefly(sql, action=f"create {key.form} {work.name} on {part.relation.name} alone")

    def _attach(
        self, part: Member, parent: ConstraintWork, state: IndexState | None, give_up_after: str | None = None
    ) -> None:
        """Turn the index of a leaf into a constraint, and attach a part to that of its parent.

        Args:
            state: current state of the part's index.
        """
        work = self._part(part)
        work = replace(work, give_up_after=give_up_after or work.give_up_after)
        # What is attached already may be attached again.
        statements = [statement("attach_part", index=parent.index, part=work.index)]
        if work.key.form == "constraint" and state and state.constraint is None:
            sql = statement("attach", table=part.relation.name, name=ident(work.name), form=constraint_form(work.key))
            statements.insert(0, sql)
        # The level comes first: a session that creates a partition locks it, and then the DEFAULT leaf.
        statements.insert(0, statement("share_levels", levels=f"ONLY {parent.relation.name}"))
        if work.leaf is not None:
            statements.insert(0, ledger.leaf_building_sql(work.leaf, work.name, building=False))
        work.execute_briefly(*statements, action=f"attach {work.name} of {part.relation.name}")

    def _unattached(self, *, leaves: bool) -> list[tuple[Member, ConstraintWork]]:
        """Return the leaves, or the inner levels, whose index is not attached to that of their parent, with the latter.

        An inner level can have its own index while it is not attached itself.
        """
        parts, unattached = self._members(), []
        for parent in parts:
            if parent.is_leaf:
                continue
            work = self._part(parent)
            state = work.state()
            attached = set()
            if state:
                sql = statement("attached_parts", index=str(state.oid))
                attached = set(execute(work.connection, sql).scalars())
            unattached += [
                (part, work)
                for part in parts
                if part.parent == parent.relation.relid
                and part.is_leaf == leaves
                and part.relation.relid not in attached
            ]
        return unattached

    def _complete(self) -> None:
        """Require that the root is valid.

        If the one leaf that was missing has been detached, the server notices with the next attach; one that is done
        already may be repeated, and does nothing else.
        """
        for attempt in range(2):
            state = self._work.state()
            if state and state.valid:
                return
            parts = [part for part in self._members() if part.parent == self._work.relation.relid]
            if attempt or not parts:
                break
            part = self._part(parts[0])
            sql = statement("attach_part", index=self._work.index, part=part.index)
            part.execute_briefly(sql, action=f"attach {part.name} again")
        raise Refused(
            [finding("invalid-index", self._work.index)], lead="Every leaf has its part, but the root stays invalid."
        )
