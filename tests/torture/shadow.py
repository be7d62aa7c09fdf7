"""The model: what the application wrote, and what a transaction that is still open wants to do to it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Rows = dict[int, Row]


@dataclass
class Shadow:
    """Rows by id, with their last data, wherever they are now; a column that a row never had is missing in it."""

    nulls_not_distinct: bool = False
    rows: Rows = field(default_factory=dict)
    pending: dict[int, Row | None] = field(default_factory=dict)
    ids: int = 0

    def new_id(self) -> int:
        """Return an id that was never used."""
        self.ids += 1
        return self.ids

    def seen_by(self, session: str, row: int) -> Row:
        """Return a row as a session sees it."""
        mine = self.pending.get(row) if session == "open" else None
        return mine or self.rows[row]

    def put(self, session: str, row: int, data: Row | None) -> None:
        """Write a row, or delete it with None, as a session does it."""
        if session == "open":
            self.pending[row] = data
        else:
            self.rows = self._after({row: data})

    def _after(self, changes: dict[int, Row | None]) -> Rows:
        return {row: data for row, data in {**self.rows, **changes}.items() if data is not None}

    def commit(self) -> None:
        """Let the open transaction's writes be."""
        self.rows, self.pending = self._after(self.pending), {}

    def outcomes(self) -> list[Rows]:
        """Return what the rows will be if the open transaction is rolled back, and if it is committed."""
        return [self.rows, self._after(self.pending)] if self.pending else [self.rows]

    def drop_column(self, name: str, live: Iterable[int]) -> None:
        """Forget a column of the rows that are in the table; archived ones keep it."""
        for row in live:
            self.rows[row].pop(name, None)

    def key(self, row: Row) -> tuple[Any, ...] | None:
        """Return what the constraint compares, or None where it compares nothing."""
        key = (row["a"], row["b"])
        return None if None in key and not self.nulls_not_distinct else key

    def groups(self, live: Iterable[int]) -> list[list[int]]:
        """Return the groups among the rows that are in the table."""
        found = defaultdict(list)
        for row in live:
            if (key := self.key(self.rows[row])) is not None:
                found[key].append(row)
        return [rows for rows in found.values() if len(rows) > 1]

    def divergent(self, group: list[int]) -> bool:
        """Tell whether the rows of a group differ in more than their id."""
        return len({tuple(sorted(data(self.rows[row]).items())) for row in group}) > 1


def data(row: Row) -> Row:
    """Return what a row carries beside its id; a value that is not there is no value."""
    return {name: value for name, value in row.items() if name != "id" and value is not None}
