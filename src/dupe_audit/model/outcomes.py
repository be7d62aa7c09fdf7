"""How an extra that stays is changed, and which values a survivor takes over from its extras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from dupe_audit.errors import WrongUsage
from dupe_audit.model.key import check_identifier

HowToMerge = Literal["sum", "min", "max", "coalesce", "bool_or", "bool_and", "jsonb_merge"]


@dataclass(frozen=True, slots=True)
class Change:
    """A column of an extra and its new value.

    Raises:
        WrongUsage: the column is not a name that PostgreSQL can store, or the value is empty.
    """

    column: str
    sql: str  #: can use the row's own columns, ``survivor.column``, and ``duplicate.number`` (2 for the first extra)

    def __post_init__(self) -> None:
        check_identifier("column", self.column)
        if not self.sql.strip():
            raise WrongUsage(f"The new value of column {self.column!r} is empty. For NULL, write None.")


@dataclass(frozen=True, slots=True)
class Merge:
    """A column of the survivor, and how its value is made of those of the group.

    Raises:
        WrongUsage: the column is not a name that PostgreSQL can store, or no such method of merging exists.
    """

    column: str
    how: str  #: one of ``HowToMerge``, or with ``is_sql`` an aggregate over the rows of the group
    is_sql: bool = False

    def __post_init__(self) -> None:
        check_identifier("column", self.column)
        ways = get_args(HowToMerge)
        if not self.is_sql and self.how not in ways:
            raise WrongUsage(
                f"merge has {self.how!r} for column {self.column!r}. Use one of {', '.join(ways)}, or an aggregate as "
                "sa.text, such as sa.text(\"string_agg(note, '; ' ORDER BY id)\")."
            )
        if self.is_sql and not self.how.strip():
            raise WrongUsage(f"The aggregate for column {self.column!r} in merge is empty.")
