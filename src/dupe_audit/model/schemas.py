"""In which schemas a table of one name is worked on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dupe_audit.errors import WrongUsage
from dupe_audit.model.key import check_identifier, check_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class Schemas:
    """Schemas that have the same table: their names, or a query that returns them.

    Raises:
        WrongUsage: neither or both are given, a name cannot be stored, or a name is repeated.
    """

    names: tuple[str, ...] = ()  #: as in the catalog, unquoted
    query: str | None = None  #: returns one column of names

    def __post_init__(self) -> None:
        if self.query is not None:
            query = check_sql("query for schemas", self.query).strip().rstrip(";").rstrip()
            object.__setattr__(self, "query", query)
        if bool(self.names) == (self.query is not None):
            raise WrongUsage("schemas is empty. Name at least one schema, or leave schemas out for a single table.")
        for name in self.names:
            check_identifier("schema", name)
        if repeated := [name for name, count in Counter(self.names).items() if count > 1]:
            raise WrongUsage(f"schemas names a schema twice: {', '.join(repeated)}.")

    def __str__(self) -> str:
        return self.query or ", ".join(self.names)
