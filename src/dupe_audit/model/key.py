"""What has to be unique, and the limits that PostgreSQL sets for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dupe_audit.errors import WrongUsage

#: bytes of a PostgreSQL identifier (NAMEDATALEN - 1); the server silently cuts longer ones
MAX_IDENTIFIER = 63

#: bytes of a btree entry (PostgreSQL documentation, 64.1 B-Tree Indexes; H40)
WIDEST_KEY = 2704

#: columns of an index, included ones among them (INDEX_MAX_KEYS)
MAX_INDEX_COLUMNS = 32


def check_identifier(kind: str, name: object) -> str:
    """Return *name* if PostgreSQL can store it unchanged.

    Raises:
        WrongUsage: it is not a string, is empty, contains a NUL or half of a surrogate pair, or is longer than 63
            bytes; PostgreSQL would truncate it and find another object, or none.
    """
    if not isinstance(name, str) or not name or any(c == "\x00" or "\ud800" <= c <= "\udfff" for c in name):
        raise WrongUsage(f"{name!r} is not a valid {kind} name. Give the name as it is in the catalog, without quotes.")
    if len(name.encode()) > MAX_IDENTIFIER:
        raise WrongUsage(
            f"The {kind} name {name!r} is longer than {MAX_IDENTIFIER} bytes, so PostgreSQL would truncate it. "
            "Give the name as it is in the catalog."
        )
    return name


def check_boolean(option: str, value: object) -> None:
    """Refuse a value that is not a boolean: a string such as ``"no"`` would count as true.

    Raises:
        WrongUsage: it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise WrongUsage(f"{option} must be True or False, not {value!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueKey:
    """What has to be unique: a table, its columns, how NULLs compare, and the form of the constraint.

    Names are as in the catalog, unquoted.

    Raises:
        WrongUsage: a name cannot be stored, the columns are none, repeated or too many, or ``initially`` does not fit.
    """

    table: str
    columns: tuple[str, ...]  #: in the order of the index; 1 to 32, those of ``include`` among them
    schema: str | None = None  #: None: the first schema of the search path that has the table
    name: str | None = None  #: of the constraint and its index
    nulls_not_distinct: bool = False  #: PostgreSQL 15+: two NULLs are equal
    include: tuple[str, ...] = ()  #: columns that the index carries but does not compare
    deferrable: bool = False  #: checked at the end of a transaction on request; cannot be an arbiter
    initially: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE"  #: ``DEFERRED`` needs ``deferrable``

    def __post_init__(self) -> None:
        check_identifier("table", self.table)
        for kind, name in (("schema", self.schema), ("constraint", self.name)):
            if name is not None:
                check_identifier(kind, name)
        for option in ("nulls_not_distinct", "deferrable"):
            check_boolean(option, getattr(self, option))
        if not self.columns:
            raise WrongUsage("A key needs at least one column.")
        for column in (*self.columns, *self.include):
            check_identifier("column", column)
        if len(set(self.columns)) != len(self.columns):
            raise WrongUsage(f"The key names a column twice: {', '.join(self.columns)}.")
        if len(self.columns) + len(self.include) > MAX_INDEX_COLUMNS:
            raise WrongUsage(f"An index can have at most {MAX_INDEX_COLUMNS} columns, INCLUDE columns among them.")
        if self.initially not in ("IMMEDIATE", "DEFERRED"):
            raise WrongUsage(f"initially must be IMMEDIATE or DEFERRED, not {self.initially!r}.")
        if self.initially == "DEFERRED" and not self.deferrable:
            raise WrongUsage("initially='DEFERRED' needs deferrable=True.")

    def __str__(self) -> str:
        table = f"{self.schema}.{self.table}" if self.schema else self.table
        return f"{table} ({', '.join(self.columns)})"
