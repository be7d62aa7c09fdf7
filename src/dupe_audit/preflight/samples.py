"""Groups for a person to look at before choosing a rule: which of their rows would survive, and where they differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection

from dupe_audit.model import CleanupRule, Sample, SampleRow, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import SEQUENTIAL
from dupe_audit.postgres.session import settings
from dupe_audit.statements import fill_known, ident, statement, template, text_array

#: rows of a group that are shown besides the survivor
SHOWN_EXTRAS = 10
#: characters of a value that are shown
SHOWN_CHARACTERS = 200


class RowColumns(NamedTuple):
    """The columns of a table by what they are for."""

    compared: tuple[str, ...]  #: in which the rows of a group have to agree, so that it is exact
    identity: tuple[str, ...]  #: the primary key, or ctid, with tableoid in a partitioned table

    def identity_sql(self, alias: str) -> str:
        """Return the array of the identity's values as text."""
        texts = {"tableoid": f"{alias}.tableoid::pg_catalog.regclass::pg_catalog.text"}
        return (
            f"ARRAY[{', '.join(texts.get(name, f'{alias}.{ident(name)}::pg_catalog.text') for name in self.identity)}]"
        )


def without_key_values(columns: RowColumns, key: UniqueKey, *, in_tree: bool = False) -> RowColumns:
    """Return the columns with an identity that repeats no value of the key: ``ctid`` if the primary key would.

    Args:
        in_tree: whether the rows are in several leaves, so that ``ctid`` alone does not identify one.
    """
    of_key = {*filter(None, key.names), *re.findall(r"\w+", " ".join(filter(None, key.expressions)))}
    quoted = " ".join(filter(None, key.expressions))
    repeats = any(name in of_key or f'"{name}"' in quoted for name in columns.identity)
    return columns._replace(identity=("tableoid", "ctid") if in_tree else ("ctid",)) if repeats else columns


def row_columns(connection: Connection, relation: Relation, rule: CleanupRule) -> RowColumns:
    """Return the columns of a table that a rule compares, and those that identify a row."""
    sql = statement("row_columns", relid=str(relation.relid), ignore=text_array(rule.ignore))
    row = execute(connection, sql).one()
    identity = tuple(row.identity)
    if relation.is_tree and identity == ("ctid",):
        identity = ("tableoid", "ctid")
    return RowColumns(tuple(row.compared), identity)


def read_samples(
    connection: Connection, columns: RowColumns, fragments: Mapping[str, str], count: int, *, show_keys: bool
) -> tuple[Sample, ...]:
    """Return divergent groups, or exact ones if none is: the row that would survive, and those that would leave.

    Groups that differ in the same columns are of one kind. One group of each kind comes first, then the largest.

    Args:
        count: groups, at most.
        show_keys: whether to read key values and the values that differ.
    """
    flags = [f"NOT pg_catalog.record_image_eq(ROW(e.{n}), ROW(v.{n}))" for n in map(ident, columns.compared)]
    values = ", ".join(_shown(f"t.{ident(name)}::pg_catalog.text") for name in columns.compared)
    key = _shown(f"ROW({fragments['partition_by']})::pg_catalog.text")
    holes = {
        "groups": str(count),
        "shown_extras": str(SHOWN_EXTRAS),
        "group_flags": ", ".join(f"pg_catalog.bool_or({flag})" for flag in flags),
        "pair_flags": ", ".join(flags),
        "identity": columns.identity_sql("t"),
        "key_value": key if show_keys else "NULL",
        "row_values": f"ARRAY[{values}]::pg_catalog.text[]" if show_keys else "NULL",
    }
    with settings(connection, SEQUENTIAL, local=True):
        rows = execute(connection, fill_known(template("samples"), fragments, **holes)).all()
    return tuple(_sample(list(group), columns) for group in _groups(rows))


def _shown(text: str) -> str:
    """Return SQL for the part of a text that is shown, and one more character if it is longer."""
    return f"pg_catalog.left({text}, {SHOWN_CHARACTERS + 1})"


def _cut(value: str | None) -> str | None:
    """Return a value, cut and marked if it is too long to show."""
    return value if value is None or len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}…"


def _groups(rows: Sequence[Any]) -> Iterator[Iterator[Any]]:
    """Yield the rows of each group; every group begins with its survivor."""
    number = 0

    def group_number(row: Any) -> int:
        nonlocal number
        number += int(row.place == 1)
        return int(number)

    for _, group in groupby(rows, key=group_number):
        yield group


def _sample(rows: Sequence[Any], columns: RowColumns) -> Sample:
    """Return the sample of a group's rows, the survivor first."""
    differing = [_differing(row, columns) for row in rows]
    shown = []
    for row, names in zip(rows, differing, strict=True):
        values = dict(zip(columns.compared, map(_cut, row.row_values or ()), strict=False))
        shown.append(
            SampleRow(
                identity=dict(zip(columns.identity, row.identity, strict=True)),
                values={name: values[name] for name in differing[0] if values},
                # The flags of the survivor are those of the group.
                differs=names if row.place > 1 else (),
            )
        )
    return Sample(
        rows=int(rows[0].rows),
        survivor=shown[0],
        extras=tuple(shown[1:]),
        key=_cut(rows[0].key_value),
        differs=differing[0],
    )


def _differing(row: Any, columns: RowColumns) -> tuple[str, ...]:
    return tuple(name for name, differs in zip(columns.compared, row.differs or (), strict=False) if differs)
