"""Rows of other tables that reference an extra: find them, point them at the survivor, and point them back.

A child moves in the transaction that archives its parent. Extras and survivors are locked first, so no child
can arrive any more (H103); then the children, waiting for nobody; then, with a new snapshot, every extra is let
go whose children are not all locked. What moves is recorded in the statement that moves it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import finding, quantity
from dupe_audit.findings.entry import Finding
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import CLASS_CONSTRAINT, reason, sqlstate
from dupe_audit.statements import fill_known, literal, statement, template

#: where a batch counts the children that it could lock; empty again at its commit
LOCKED = "CREATE TEMPORARY TABLE IF NOT EXISTS dupe_audit_locked_child (n bigint) ON COMMIT DELETE ROWS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key that points at the table, and the SQL that counts, moves and returns its rows."""

    child: str  #: the referencing table, qualified and quoted
    constraint_name: str
    on_delete: str  #: NO ACTION, RESTRICT, CASCADE, SET NULL or SET DEFAULT
    cannot: str | None  #: why its rows cannot be pointed elsewhere; None where they can
    holes: dict[str, str]
    number: int = 0  #: in the ledger of a run

    def sql(self, name: str, holes: dict[str, str], /, **more: str) -> str:
        """Return a statement filled for this foreign key."""
        return fill_known(template(name), {**holes, **self.holes}, **more)

    def rows(self, count: int) -> str:
        """Return a number of its rows, as findings print it."""
        return f"{quantity(count, 'row')} of {self.child} ({self.constraint_name}, ON DELETE {self.on_delete})"


def foreign_keys(connection: Connection, relid: int) -> tuple[ForeignKey, ...]:
    """Return the foreign keys that point at the table, in the order in which their rows are moved."""
    rows = execute(connection, statement("references", relid=str(relid))).mappings().all()
    return tuple(
        ForeignKey(
            child=row["child"],
            constraint_name=row["constraint_name"],
            on_delete=row["on_delete"],
            cannot=row["cannot"],
            holes={
                **{name: str(value) for name, value in row.items() if value is not None},
                **{name: _numbers(row[name]) for name in ("identity", "columns")},
            },
        )
        for row in rows
    )


def _numbers(attnums: Sequence[int] | None) -> str:
    return f"ARRAY[{', '.join(str(n) for n in attnums or ())}]::pg_catalog.int2[]"


def triggers(connection: Connection, relid: int) -> list[Finding]:
    """Return a finding for each trigger that fires when a child is pointed elsewhere (H108)."""
    rows = execute(connection, statement("child_triggers", relid=str(relid)))
    return [finding("child-trigger", row.subject) for row in rows]


def objections(counted: Sequence[tuple[ForeignKey, int, int]]) -> list[Finding]:
    """Return why children cannot be moved; of each foreign key: its children, and those that would be unlinked."""
    findings = []
    for fk, rows, unlinked in counted:
        if rows and fk.cannot:
            findings.append(finding("cannot-repoint", f"{fk.rows(rows)}: {fk.cannot}"))
        elif unlinked:
            nothing = "their survivors have no value in the referenced columns"
            findings.append(finding("cannot-repoint", f"{fk.rows(unlinked)}: {nothing}"))
    return findings


def collisions(connection: Connection, relid: int, pairs: str) -> list[Finding]:
    """Return the unique indexes of children that moving would violate, with the number of rows in the way (H104)."""
    indexes = execute(connection, statement("collisions", relid=str(relid), pairs=literal(pairs))).all()
    counted = [(one, execute(connection, one.query).scalar_one()) for one in indexes]
    told = (f"{quantity(count, 'row')} of {one.child} would collide on {one.index}" for one, count in counted if count)
    return [finding("repoint-collision", subject) for subject in told]


def open_records(
    connection: Connection, run_id: int, fks: Collection[ForeignKey], owner: str
) -> tuple[ForeignKey, ...]:
    """Enter the foreign keys whose rows a run may move, and make their records; they come back with numbers."""
    opened = []
    for fk in fks:
        if fk.cannot:
            continue
        holes = {**fk.holes, "child": literal(fk.child), "constraint_name": literal(fk.constraint_name)}
        number = execute(connection, fill_known(template("enter_child"), holes, run=str(run_id))).scalar_one()
        record = ledger.record_name(run_id, number)
        if not ledger.is_there(connection, record):
            for name in ("create_record", "finish_record"):
                execute(connection, fk.sql(name, {}, record=record))
            ledger.make_private(connection, record, owner)
        opened.append(replace(fk, number=number, holes={**fk.holes, "record": record}))
    # By number, which the way back reverses: a foreign key that was made anew keeps its number, and not its oid.
    return tuple(sorted(opened, key=lambda fk: fk.number))


def judging(fks: Collection[ForeignKey], moving: Collection[ForeignKey]) -> dict[str, str]:
    """Return what ``judge_extras.sql`` has to know: whose rows are counted, and whose may not be there at all."""
    count = "(SELECT count(*) FROM {source} c WHERE {condition})"
    none = "(SELECT true FROM {source} c WHERE {condition} LIMIT 1) IS NULL"
    return {
        "e_children": " + ".join(fill_known(count, fk.holes) for fk in moving) or "0",
        "e_unreferenced_by_others": " AND ".join(fill_known(none, fk.holes) for fk in fks if fk.cannot) or "true",
    }


def follow(
    connection: Connection, run_id: int, moving: Sequence[ForeignKey], holes: dict[str, str], batch: int
) -> tuple[int, int]:
    """Point the children of the locked extras at their survivors; return how many extras may leave, and the children.

    Raises:
        DupeAuditError: a trigger keeps children where they are.
    """
    for fk in moving:
        execute(connection, fk.sql("lock_children", holes))
    leaving = int(execute(connection, fill_known(template("judge_extras"), holes)).scalar_one())
    moved = 0
    for fk in moving:
        row = execute(connection, fk.sql("repoint_children", holes, batch=str(batch))).one()
        if not row.found == row.pointed == row.noted:
            raise DupeAuditError(
                f"Of {row.found} rows of {fk.child} {row.pointed} were pointed at a survivor; the batch was rolled "
                "back. A trigger on that table keeps rows: see finding child-trigger."
            )
        if row.pointed:
            this = f"run_id = {run_id} AND number = {fk.number}"
            execute(connection, f"UPDATE dupe_audit.child SET moved = moved + {row.pointed} WHERE {this}")
        moved += row.pointed
    return leaving, moved


@contextmanager
def refusing(moving: bool) -> Iterator[None]:
    """Say what it means when a batch that moves children violates a constraint, at once or at its commit.

    Raises:
        Refused: a child that came after the count, or a constraint that cannot be counted, forbids it.
    """
    try:
        yield
    except DBAPIError as error:
        if not moving or not (sqlstate(error) or "").startswith(CLASS_CONSTRAINT):
            raise
        raise Refused([finding("repoint-collision", reason(error))], lead="The batch was rolled back.") from error


def to_return(connection: Connection, run_id: int, relid: int) -> list[tuple[ForeignKey, int, int, int]]:
    """Return the ranges of moved children that are not back, newest first: foreign key, first id, last id, rows.

    What was moved last goes back first: a survivor of one pass can have been an extra of the next.
    """
    shapes = ("child_relid", "columns", "identity")
    fks = {tuple(fk.holes[name] for name in shapes): fk for fk in foreign_keys(connection, relid)}
    ranges = []
    for row in ledger.children(connection, run_id):
        record = ledger.record_name(run_id, row["number"])
        fk = fks.get((str(row["relid"]), _numbers(row["columns"]), _numbers(row["identity"])))
        if fk is None or not ledger.is_there(connection, record):
            continue
        fk = replace(fk, number=row["number"], holes={**fk.holes, "record": record, "number": str(row["number"])})
        left = f"FROM {record} WHERE dupe_audit_returned_at IS NULL"
        bounds = (
            "SELECT dupe_audit_batch AS batch, min(dupe_audit_id) AS low, max(dupe_audit_id) AS high, count(*) AS size"
        )
        found = execute(connection, f"{bounds} {left} GROUP BY 1").all()
        ranges += [(int(one.batch), fk, int(one.low), int(one.high), int(one.size)) for one in found]
    ranges.sort(key=lambda one: (one[0], one[1].number), reverse=True)
    return [(fk, low, high, size) for _, fk, low, high, size in ranges]
