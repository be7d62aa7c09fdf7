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


def check_sql(kind: str, sql: object) -> str:
    """Return *sql* if it can be a part of a statement; the server judges the rest.

    Raises:
        WrongUsage: it is not a string, is blank, or contains a NUL.
    """
    if not isinstance(sql, str) or not sql.strip() or "\x00" in sql:
        raise WrongUsage(f"{sql!r} is not a valid {kind}. Give it as SQL, in one string that is not empty.")
    return sql


@dataclass(frozen=True, slots=True)
class Expression:
    """An SQL expression over the columns of one row, such as ``lower(email)``.

    In a key it may carry ``COLLATE``; in an order, a direction such as ``DESC NULLS LAST``.

    Raises:
        WrongUsage: it is not text, or blank.
    """

    sql: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "sql", check_sql("expression", self.sql).strip())

    def __str__(self) -> str:
        return self.sql


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueKey:
    """What has to be unique: a table, the elements of the key, which rows it covers, and how NULLs compare.

    Names are as in the catalog, unquoted.

    Raises:
        WrongUsage: a name cannot be stored, the columns are none, repeated or too many, or ``initially`` does not fit.
    """

    table: str
    columns: tuple[str | Expression, ...]  #: elements in the order of the index; 1 to 32, with those of ``include``
    schema: str | None = None  #: None: the first schema of the search path that has the table
    where: str | None = None  #: predicate, as SQL: the key covers the rows for which it is true; None: all rows
    name: str | None = None  #: of the constraint and its index
    nulls_not_distinct: bool = False  #: PostgreSQL 15+: two NULLs are equal
    include: tuple[str, ...] = ()  #: columns that the index carries but does not compare
    deferrable: bool = False  #: checked at the end of a transaction on request; cannot be an arbiter
    initially: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE"  #: ``DEFERRED`` needs ``deferrable``
    form: Literal["constraint", "index"] = "constraint"  #: what enforces it; an index alone is not a constraint

    def __post_init__(self) -> None:
        check_identifier("table", self.table)
        for kind, name in (("schema", self.schema), ("constraint", self.name)):
            if name is not None:
                check_identifier(kind, name)
        for option in ("nulls_not_distinct", "deferrable"):
            check_boolean(option, getattr(self, option))
        self._check_elements()
        if self.initially not in ("IMMEDIATE", "DEFERRED"):
            raise WrongUsage(f"initially must be IMMEDIATE or DEFERRED, not {self.initially!r}.")
        if self.initially == "DEFERRED" and not self.deferrable:
            raise WrongUsage("initially='DEFERRED' needs deferrable=True.")

    def _check_elements(self) -> None:
        if not self.columns:
            raise WrongUsage("A key needs at least one column.")
        for column in (*self.columns, *self.include):
            if not isinstance(column, Expression):
                check_identifier("column", column)
        if len(set(self.columns)) != len(self.columns):
            raise WrongUsage(f"The key names a column twice: {', '.join(self.elements)}.")
        if self.where is not None:
            object.__setattr__(self, "where", check_sql("predicate", self.where).strip())
        if len(self.columns) + len(self.include) > MAX_INDEX_COLUMNS:
            raise WrongUsage(f"An index can have at most {MAX_INDEX_COLUMNS} columns, INCLUDE columns among them.")

    def __str__(self) -> str:
        table = f"{self.schema}.{self.table}" if self.schema else self.table
        where = f" WHERE {self.where}" if self.where else ""
        return f"{table} ({', '.join(self.elements)}){where}"

    @property
    def elements(self) -> tuple[str, ...]:
        """Each element as it was written: the name of a column, or SQL."""
        return tuple(map(str, self.columns))

    @property
    def names(self) -> tuple[str | None, ...]:
        """The name of each element, in order; None for an expression."""
        return tuple(None if isinstance(column, Expression) else column for column in self.columns)

    @property
    def expressions(self) -> tuple[str | None, ...]:
        """The SQL of each element, in order; None for a column."""
        return tuple(column.sql if isinstance(column, Expression) else None for column in self.columns)

    @property
    def scope(self) -> tuple[frozenset[str | Expression], str | None]:
        """What two keys of one table must share to have the same duplicates: elements in any order, predicate."""
        return frozenset(self.columns), self.where

    @property
    def is_plain(self) -> bool:
        """Whether it has only columns and covers all rows, so that a constraint can enforce it."""
        return self.where is None and None not in self.names
