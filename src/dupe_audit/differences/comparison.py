"""Count in one pass in which columns groups differ, and how many would be exact without some of these columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from dupe_audit.differences.bookkeeping import ComparedColumn, reason
from dupe_audit.model import CleanupRule, Differences, Suggestion, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import statement

#: limit of bookkeeping columns that are counted together; n columns can differ in 2 to the power of n patterns
_MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The columns in which the rows of a group are compared."""

    columns: tuple[str, ...]
    reasons: Mapping[str, str]  #: what makes a column look like bookkeeping, by its name
    ignored: tuple[str, ...]  #: columns that the rule already ignores

    @property
    def pattern(self) -> str:
        """SQL: a bit for differences in any other column, then one per bookkeeping column, of a divergent group."""
        positions = {name: f"d{position}" for position, name in enumerate(self.columns, 1)}
        others = [flag for name, flag in positions.items() if name not in self.reasons]
        flags = [" OR ".join(others) or "false", *(positions[name] for name in self.reasons)]
        bits = [f"CASE WHEN {flag} THEN {1 << bit} ELSE 0 END" for bit, flag in enumerate(flags)]
        return " OPERATOR(pg_catalog.|) ".join(f"({bit})" for bit in bits)

    def differences(self, rows: Iterable[Any]) -> Differences | None:
        """Add up the rows of a count, one per pattern; return None if no group is divergent."""
        patterns = [row for row in rows if row.divergent_groups]
        if not patterns:
            return None
        totals = [sum(counts) for counts in zip(*(row.differs for row in patterns), strict=True)]
        differs = {name: int(groups) for name, groups in zip(self.columns, totals, strict=True) if groups}
        by_groups = sorted(differs.items(), key=lambda item: -item[1])
        groups = sum(row.divergent_groups for row in patterns)
        return Differences(groups=groups, columns=dict(by_groups), suggestion=self._suggestion(patterns, groups))

    def _suggestion(self, patterns: Sequence[Any], groups: int) -> Suggestion | None:
        """Return the fewest bookkeeping columns without which as many groups are exact as without all of them."""
        bookkeeping = list(self.reasons)
        bits = {name: 2 << position for position, name in enumerate(bookkeeping)}

        def exact(names: Iterable[str]) -> int:
            left_out = sum(bits[name] for name in names)
            return sum(row.divergent_groups for row in patterns if not row.pattern & ~left_out)

        most, chosen = exact(bookkeeping), bookkeeping
        for name in reversed(bookkeeping):
            fewer = [other for other in chosen if other != name]
            if exact(fewer) == most:
                chosen = fewer
        if not most:
            return None
        reasons = {name: self.reasons[name] for name in chosen}
        return Suggestion(columns=reasons, ignore=(*self.ignored, *chosen), exact_groups=most, divergent_groups=groups)


def comparison(
    connection: Connection, relation: Relation, key: UniqueKey, rule: CleanupRule, fragments: Mapping[str, str]
) -> Comparison:
    """Return the columns of a table that a rule compares."""
    sql = statement("compared_columns", relid=str(relation.relid), compared_names=fragments["compared_names"])
    columns = [ComparedColumn(**row) for row in execute(connection, sql).mappings()]
    reasons = {column.name: why for column in columns if column.name not in key.names and (why := reason(column))}
    return Comparison(
        columns=tuple(column.name for column in columns),
        reasons=dict(list(reasons.items())[:_MOST]),
        ignored=tuple(rule.ignore),
    )
