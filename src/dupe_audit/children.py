"""Rows of other tables that reference an extra: find them, point them at the survivor, and point them back.

A child moves in the transaction that archives its parent. Extras and survivors are locked first, so that no child
can arrive any more (H103). Then the children are locked, without waiting; then, with a new snapshot, each extra with
children that could not be locked is spared. The statement that moves a child also records it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import CLASS_CONSTRAINT, reason, sqlstate
from dupe_audit.statements import fill_known, literal, statement, template


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key to the table, and the SQL that counts, moves and returns its rows."""

    child: str  #: the referencing table, qualified and quoted
    constraint_name: str
    on_delete: str  #: NO ACTION, RESTRICT, CASCADE, SET NULL or SET DEFAULT
    obstacle: str | None  #: why its rows cannot be pointed at another row; None if they can
    holes: dict[str, str]
    number: int = 0  #: in the ledger, per run

    def sql(self, name: str, holes: Mapping[str, str], /, **more: str) -> str:
        """Return a statement filled for this foreign key."""
        return fill_known(template(name), {**holes, **self.holes}, **more)

    def rows(self, count: int) -> str:
        """Return a number of its rows in words, as findings name them."""
        return f"{quantity(count, 'row')} of {self.child} ({self.constraint_name}, ON DELETE {self.on_delete})"


def foreign_keys(connection: Connection, relid: int) -> tuple[ForeignKey, ...]:
    """Return the foreign keys to the table, in the order in which their rows are moved."""
    if not execute(connection, statement("is_referenced", relid=str(relid))).scalar_one():
        return ()
    rows = execute(connection, statement("references", relid=str(relid))).mappings().all()
    return tuple(
        ForeignKey(
            child=row["child"],
            constraint_name=row["constraint_name"],
            on_delete=row["on_delete"],
            obstacle=row["cannot"],
            holes={
                **{name: str(value) for name, value in row.items() if value is not None},
                **{name: _numbers(row[name]) for name in ("identity", "columns")},
            },
        )
        for row in rows
    )


def _numbers(attnums: Sequence[int] | None) -> str:
    return f"ARRAY[{', '.join(str(number) for number in attnums or ())}]::pg_catalog.int2[]"


def actions(foreign_keys: Collection[ForeignKey]) -> bool:
    """Return whether one of them deletes or changes its rows when the row that they reference is deleted."""
    return any(key.on_delete in ("CASCADE", "SET NULL", "SET DEFAULT") for key in foreign_keys)


def counting(connection: Connection, foreign_keys: Collection[ForeignKey]) -> dict[str, str]:
    """Return the setting under which ``changed_children`` counts, if it is needed and the server lacks it."""
    if not actions(foreign_keys) or execute(connection, statement("counts_tracked")).scalar_one():
        return {}
    return {"track_counts": "on"}


def triggers(connection: Connection, relid: int) -> list[Finding]:
    """Return a finding for each trigger that fires when a child is pointed at another row (H108)."""
    rows = execute(connection, statement("child_triggers", relid=str(relid)))
    return [finding("child-trigger", row.subject) for row in rows]


def objections(counts: Sequence[tuple[ForeignKey, int, int]]) -> list[Finding]:
    """Return why children cannot be moved.

    Args:
        counts: per foreign key, the children of extras, and those that would lose their reference.
    """
    findings = []
    for foreign_key, rows, unlinked in counts:
        if rows and foreign_key.obstacle:
            findings.append(finding("cannot-repoint", f"{foreign_key.rows(rows)}: {foreign_key.obstacle}"))
        elif unlinked:
            obstacle = "their survivors have no value in the referenced columns"
            findings.append(finding("cannot-repoint", f"{foreign_key.rows(unlinked)}: {obstacle}"))
    return findings


def collisions(connection: Connection, relid: int, pairs: str) -> list[Finding]:
    """Return a finding for each unique index of children that moving would violate, with the rows in the way (H104).

    Args:
        pairs: the query for the places of each extra and its survivor.
    """
    of_children = execute(connection, statement("collisions", relid=str(relid), pairs=literal(pairs))).all()
    return [
        finding("repoint-collision", f"{quantity(index.rows, 'row')} of {of_child.child} would collide on {index.name}")
        for of_child in of_children
        for index in execute(connection, of_child.query).all()
        if index.rows
    ]


def open_records(
    connection: Connection, run_id: int, foreign_keys: Collection[ForeignKey], owner: str
) -> tuple[ForeignKey, ...]:
    """Return, with their numbers, the foreign keys whose rows a run may move; record them and create their records."""
    opened = []
    for foreign_key in foreign_keys:
        if foreign_key.obstacle:
            continue
        names = {"child": foreign_key.child, "constraint_name": foreign_key.constraint_name}
        holes = {**foreign_key.holes, **{hole: literal(name) for hole, name in names.items()}}
        recorded = ledger.moved_children_sql(run_id)
        entered = fill_known(template("enter_child"), holes, run=str(run_id), moved_children=recorded)
        number = execute(connection, entered).scalar_one()
        record = ledger.record_name(run_id, number)
        if not ledger.relation_exists(connection, record):
            for name in ("create_record", "finish_record"):
                execute(connection, foreign_key.sql(name, {}, record=record))
            ledger.make_private(connection, record, owner)
        opened.append(replace(foreign_key, number=number, holes={**foreign_key.holes, "record": record}))
    # By number, which a restore reverses: a foreign key that was re-created keeps its number, but not its oid.
    return tuple(sorted(opened, key=lambda foreign_key: foreign_key.number))


def judging(foreign_keys: Collection[ForeignKey], moving: Collection[ForeignKey]) -> dict[str, str]:
    """Return what fills ``judge_extras.sql``: children that are counted, and children that must not exist at all."""
    count = "(SELECT pg_catalog.count(*) FROM {source} c WHERE {condition})"
    none = "(SELECT true FROM {source} c WHERE {condition} LIMIT 1) IS NULL"
    return {
        "e_children": " + ".join(fill_known(count, moved.holes) for moved in moving) or "0",
        "e_unreferenced_by_others": " AND ".join(
            fill_known(none, foreign_key.holes) for foreign_key in foreign_keys if foreign_key.obstacle
        )
        or "true",
    }


def follow(
    connection: Connection, run_id: int, moving: Sequence[ForeignKey], holes: Mapping[str, str], batch: int
) -> tuple[int, int]:
    """Point the children of the locked extras at their survivors; count the extras that may go, and those children.

    Raises:
        DupeAuditError: a trigger keeps children where they are.
    """
    for foreign_key in moving:
        execute(connection, foreign_key.sql("lock_children", holes))
    leaving = int(execute(connection, fill_known(template("judge_extras"), holes)).scalar_one())
    moved = 0
    for foreign_key in moving:
        row = execute(connection, foreign_key.sql("repoint_children", holes, batch=str(batch))).one()
        if not row.found == row.pointed == row.noted:
            raise DupeAuditError(
                f"The batch found {quantity(row.found, 'row')} of {foreign_key.child}, but pointed {row.pointed:,} at "
                "a survivor; it was rolled back. A trigger on that table suppresses updates: see finding child-trigger."
            )
        if row.pointed:
            ledger.record_moved_children(connection, run_id, foreign_key.number, row.pointed)
        moved += row.pointed
    return leaving, moved


@contextmanager
def refusing(moving: bool) -> Iterator[None]:
    """Refuse a batch that moves children and violates a constraint, at once or at its commit.

    Raises:
        Refused: a child arrived after the count, or a constraint that cannot be counted forbids the move.
    """
    try:
        yield
    except DBAPIError as error:
        if not moving or not (sqlstate(error) or "").startswith(CLASS_CONSTRAINT):
            raise
        raise Refused([finding("repoint-collision", reason(error))], lead="The batch was rolled back.") from error


def to_return(connection: Connection, run_id: int, relid: int) -> list[tuple[ForeignKey, int, int, int]]:
    """Return the ranges of moved children that are not back, newest first: foreign key, first id, last id, rows.

    The last moved go back first: the survivor of one pass can be an extra of the next.
    """
    shapes = ("child_relid", "columns", "identity")
    by_shape = {tuple(key.holes[shape] for shape in shapes): key for key in foreign_keys(connection, relid)}
    ranges = []
    for row in ledger.moved_children(connection, run_id):
        record = ledger.record_name(run_id, row["number"])
        foreign_key = by_shape.get((str(row["relid"]), _numbers(row["columns"]), _numbers(row["identity"])))
        if foreign_key is None or not ledger.relation_exists(connection, record):
            continue
        holes = {**foreign_key.holes, "record": record, "number": str(row["number"])}
        foreign_key = replace(foreign_key, number=row["number"], holes=holes)
        batches = execute(connection, statement("children_to_return", record=record)).all()
        ranges += [
            (int(batch.batch), foreign_key, int(batch.low), int(batch.high), int(batch.size)) for batch in batches
        ]
    ranges.sort(key=lambda moved: (moved[0], moved[1].number), reverse=True)
    return [(foreign_key, low, high, size) for _, foreign_key, low, high, size in ranges]
