"""How a key is cleaned and enforced: which rows survive, how fast, and how long to wait."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dupe_audit.errors import WrongUsage
from dupe_audit.model.key import Expression, check_identifier
from dupe_audit.model.limits import BUILD_ATTEMPTS, GIVE_UP_AFTER, LOCK_TIMEOUT
from dupe_audit.model.outcomes import Change, Merge

#: default of rules, and of the directives, commands and steps that have the same option
BATCH_SIZE = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupRule:
    """Which row of a group survives, which groups may be cleaned, and how fast.

    Raises:
        WrongUsage: a value is not one of those allowed, or out of range.
    """

    keep: Literal["first", "last"] = "first"
    order_by: tuple[str | Expression, ...] = ()  #: what "first" means; ties end in the row's identity
    exact: Literal["archive", "amend"] = "archive"  #: extras that equal their survivor are removed, or changed
    divergent: Literal["refuse", "archive", "amend"] = "refuse"  #: divergent extras stop the cleanup, or are handled so
    references: Literal["refuse", "repoint"] = "refuse"  #: children of extras stop the cleanup, or follow the survivor
    ignore: tuple[str, ...] = ()  #: columns in which rows may differ and still be exact duplicates
    changes: tuple[Change, ...] = ()  #: what ``amend`` changes, so that an extra no longer is one
    merges: tuple[Merge, ...] = ()  #: values that the survivor takes over; groups may differ in these columns
    batch_size: int = BATCH_SIZE  #: most rows per transaction, 1 to 100,000; with repoint, rows and their children
    pause: float = 0.0  #: seconds between two batches
    max_replica_lag: float | None = None  #: seconds; batches wait while a standby is further behind

    def __post_init__(self) -> None:
        choices = {
            "keep": ("first", "last"),
            "divergent": ("refuse", "archive", "amend"),
            "references": ("refuse", "repoint"),
        }
        for option, allowed in choices.items():
            value = getattr(self, option)
            if value not in allowed:
                raise WrongUsage(f"{option} must be one of {', '.join(allowed)}, not {value!r}.")
        self._check_order()
        self._check_outcome()
        _check_number("batch_size", self.batch_size, whole=True)
        _check_number("pause", self.pause)
        if self.max_replica_lag is not None:
            _check_number("max_replica_lag", self.max_replica_lag)
        if not 1 <= self.batch_size <= 100_000:
            raise WrongUsage(f"batch_size must be between 1 and 100,000 rows, not {self.batch_size:,}.")
        if self.pause < 0:
            raise WrongUsage(f"pause must be a number of seconds, 0 or more, not {self.pause}.")
        if self.max_replica_lag is not None and self.max_replica_lag <= 0:
            raise WrongUsage(f"max_replica_lag must be a number of seconds above 0, not {self.max_replica_lag}.")

    def _check_order(self) -> None:
        for column in (*self.order_by, *self.ignore):
            if not isinstance(column, Expression):
                check_identifier("column", column)
        for column in self.order_by:
            if isinstance(column, str) and _DIRECTION.search(column):
                raise WrongUsage(
                    f"order_by has {column!r}, a name of a column with a direction. Write it as SQL: "
                    f"sa.text({column!r}); or give the name alone, and keep='last' for a descending order."
                )
        if self.keep == "last" and any(isinstance(part, Expression) for part in self.order_by):
            raise WrongUsage(
                "keep='last' would reverse an order that is written as SQL. Leave keep out, and give each part of "
                "order_by its direction, such as sa.text('last_login DESC NULLS LAST')."
            )

    def _check_outcome(self) -> None:
        if self.amends and not self.changes:
            raise WrongUsage("divergent='amend' needs set_: the columns to change, with their new values.")
        if self.changes and not self.amends:
            raise WrongUsage("set_ needs divergent='amend'. To change every extra: op.amend_duplicates().")
        if self.changes and self.merges:
            raise WrongUsage(
                "merge and set_ cannot be combined, because merge takes values only from extras that are removed. "
                "Leave out one of them."
            )
        for option, columns in (("set_", self.changes), ("merge", self.merges)):
            names = [each.column for each in columns]
            if repeated := sorted({name for name in names if names.count(name) > 1}):
                raise WrongUsage(f"{option} names column {repeated[0]!r} twice.")

    @property
    def verb(self) -> str:
        """What a cleanup does with extras, as an infinitive."""
        return "archive or amend" if self.divides else self.exact

    @property
    def outcome(self) -> str:
        """What becomes of extras, as a participle."""
        return self.verb.replace("archive", "archived").replace("amend", "amended")

    @property
    def amends(self) -> bool:
        """Whether extras can be changed instead of being removed."""
        return "amend" in (self.exact, self.divergent)

    @property
    def divides(self) -> bool:
        """Whether exact extras are archived, and divergent ones amended."""
        return self.amends and self.exact == "archive"

    @property
    def changes_rows(self) -> bool:
        """Whether rows that stay in the table can be changed: extras, or survivors."""
        return self.amends or bool(self.merges)

    @property
    def merges_groups(self) -> bool:
        """Whether a merge needs all rows of a group at once, and cannot add rows to a value that is already merged."""
        return any(merge.is_sql for merge in self.merges)

    @property
    def not_compared(self) -> tuple[str, ...]:
        """Columns in which the rows of an exact group may differ."""
        return (*self.ignore, *(merge.column for merge in self.merges))

    @property
    def named_columns(self) -> tuple[str, ...]:
        """Every column that the rule names, which the table has to have."""
        names = [part for part in self.order_by if isinstance(part, str)]
        return (*names, *self.not_compared, *(change.column for change in self.changes))

    @property
    def orderings(self) -> tuple[Ordering, ...]:
        """The parts of ``order_by``, expressions apart from their directions."""
        return tuple(map(_ordering, self.order_by))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRule:
    """How long to wait for locks, and how often to try, while a constraint is created or dropped.

    Durations and sizes are written as in PostgreSQL; None leaves the server's setting.

    Raises:
        WrongUsage: a duration is not valid, or a value is out of range.
    """

    lock_timeout: str = LOCK_TIMEOUT  #: how long one statement of the application may wait behind ours; at most 1min
    give_up_after: str = GIVE_UP_AFTER  #: total wait for one lock, all tries together, and for rounds of builds
    build_attempts: int = BUILD_ATTEMPTS  #: failed builds after which the writers are held, or it ends
    comment: str | None = None  #: comment on the constraint; None writes none
    maintenance_work_mem: str | None = None  #: memory for the build, a size such as 1GB
    max_parallel_maintenance_workers: str | None = None  #: parallel workers of the build; 0 for none

    def __post_init__(self) -> None:
        for option in ("lock_timeout", "give_up_after"):
            _check_duration(option, getattr(self, option))
        if self.comment is not None and not isinstance(self.comment, str):
            raise WrongUsage(f"comment must be text or None, not {self.comment!r}.")
        if self.comment is not None and "\x00" in self.comment:
            raise WrongUsage("comment contains a NUL character, which PostgreSQL cannot store.")
        _check_number("build_attempts", self.build_attempts, whole=True)
        if self.build_attempts < 1:
            raise WrongUsage(f"build_attempts must be at least 1, not {self.build_attempts}.")
        if not 0 < milliseconds(self.lock_timeout) <= 60_000:
            # Zero would mean "wait forever" and queue the whole application behind us (H76).
            raise WrongUsage(f"lock_timeout must be more than 0 and at most 1min, not {self.lock_timeout!r}.")
        if milliseconds(self.give_up_after) <= 0:
            raise WrongUsage(f"give_up_after must be more than 0, not {self.give_up_after!r}.")


#: a direction after an expression, as SQL writes it
_DIRECTION = re.compile(r"\s+((ASC|DESC)(\s+NULLS\s+(FIRST|LAST))?|NULLS\s+(FIRST|LAST))\s*$", re.IGNORECASE)


class Ordering(NamedTuple):
    """One part of the order that decides the survivor."""

    name: str | None  #: of a column; None for an expression
    expression: str | None  #: SQL without its direction; None for a column
    direction: str = ""  #: of an expression, as SQL; empty if it has none


def _ordering(part: str | Expression) -> Ordering:
    if isinstance(part, str):
        return Ordering(part, None)
    match = _DIRECTION.search(part.sql)
    if match is None:
        return Ordering(None, part.sql)
    return Ordering(None, part.sql[: match.start()], " ".join(match[1].upper().split()))


def _check_number(option: str, value: object, *, whole: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise WrongUsage(f"{option} must be a {'whole number' if whole else 'number'}, not {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise WrongUsage(f"{option} must be a finite number, not {value}.")


def _check_duration(option: str, value: object) -> None:
    if not isinstance(value, str):
        raise WrongUsage(f"{option} must be text such as '500ms', not {value!r}.")
    try:
        milliseconds(value)
    except WrongUsage as error:
        raise WrongUsage(f"{option}: {error}") from None


_UNITS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}

_DURATION = re.compile(rf"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*({'|'.join(_UNITS)})?\s*", re.ASCII)


def milliseconds(duration: str) -> int:
    """Return a PostgreSQL duration such as ``500ms`` or ``10min`` in milliseconds.

    Raises:
        WrongUsage: it is not a number with one of the units ms, s, min, h, d.
    """
    # The text goes to the server unchanged, so Python's other ways to write a number, such as 1_000, are not valid.
    match = _DURATION.fullmatch(str(duration))
    if match is None:
        raise WrongUsage(f"{duration!r} is not a valid duration. Write 500ms, 2s, 10min, 1h or 1d.")
    return int(float(match[1]) * _UNITS[match[2] or "ms"])
