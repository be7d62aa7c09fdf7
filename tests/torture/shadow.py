"""The model: what the application wrote, and what its open transaction is about to change."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Rows = dict[int, Row]


@dataclass
class Shadow:
    """Rows by id with their last data, wherever they are stored; a column that a row never had is missing from it."""

    nulls_not_distinct: bool = False
    rows: Rows = field(default_factory=dict)
    pending: dict[int, Row | None] = field(default_factory=dict)
    ids: int = 0

    def new_id(self) -> int:
        """Return an unused id."""
        self.ids += 1
        return self.ids

    def visible_to(self, session: str, row: int) -> Row:
        """Return a row as a session sees it."""
        pending = self.pending.get(row) if session == "open" else None
        return pending or self.rows[row]

    def put(self, session: str, row: int, data: Row | None) -> None:
        """Write a row in a session; None deletes it."""
        if session == "open":
            self.pending[row] = data
        else:
            self.rows = self._after({row: data})

    def _after(self, changes: dict[int, Row | None]) -> Rows:
        return {row: data for row, data in {**self.rows, **changes}.items() if data is not None}

    def commit(self) -> None:
        """Apply the open transaction's writes."""
        self.rows, self.pending = self._after(self.pending), {}

    def outcomes(self) -> list[Rows]:
        """Return the rows as they are after a rollback of the open transaction, and after its commit."""
        return [self.rows, self._after(self.pending)] if self.pending else [self.rows]

    def drop_column(self, name: str, live: Iterable[int]) -> None:
        """Remove a column from the rows in the table; archived rows keep it."""
        for row in live:
            self.rows[row].pop(name, None)

    def key(self, row: Row) -> tuple[Any, ...] | None:
        """Return the values that the constraint compares, or None if it ignores the row."""
        key = (row["a"], row["b"])
        return None if None in key and not self.nulls_not_distinct else key

    def groups(self, live: Iterable[int]) -> list[list[int]]:
        """Return the groups among the rows in the table."""
        by_key = defaultdict(list)
        for row in live:
            if (key := self.key(self.rows[row])) is not None:
                by_key[key].append(row)
        return [rows for rows in by_key.values() if len(rows) > 1]

    def divergent(self, group: list[int]) -> bool:
        """Return whether the rows of a group differ in more than their id."""
        return len({tuple(sorted(data(self.rows[row]).items())) for row in group}) > 1


def data(row: Row) -> Row:
    """Return a row's values other than its id; NULL counts as missing."""
    return {name: value for name, value in row.items() if name != "id" and value is not None}
