"""What a person looks at before choosing a rule: in which columns the rows differ, and which row would survive."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection

from dupe_audit.model import CleanupRule, Sample, SampleRow, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import COUNTING
from dupe_audit.postgres.session import settings
from dupe_audit.statements import fill_known, ident, statement, template, text_array

#: rows of a group that are shown, the survivor among them
SHOWN_ROWS = 11
#: characters of a value that are shown
SHOWN_CHARACTERS = 200


class RowColumns(NamedTuple):
    """The columns of a table by what they are for."""

    compared: tuple[str, ...]  #: in which the rows of a group have to agree, so that it is exact
    identity: tuple[str, ...]  #: the primary key, or ctid

    def identity_sql(self, alias: str) -> str:
        """Return the array of the identity's values as text."""
        return f"ARRAY[{', '.join(f'{alias}.{ident(name)}::pg_catalog.text' for name in self.identity)}]"


def without_key_values(columns: RowColumns, key: UniqueKey) -> RowColumns:
    """Return the columns with an identity that repeats no value of the key: ``ctid`` if the primary key would."""
    of_key = {*filter(None, key.names), *re.findall(r"\w+", " ".join(filter(None, key.expressions)))}
    quoted = " ".join(filter(None, key.expressions))
    repeats = any(name in of_key or f'"{name}"' in quoted for name in columns.identity)
    return columns._replace(identity=("ctid",)) if repeats else columns


def row_columns(connection: Connection, relation: Relation, rule: CleanupRule) -> RowColumns:
    """Return the columns of a table that a rule compares, and those that identify a row."""
    sql = statement("row_columns", relid=str(relation.relid), ignore=text_array(rule.ignore))
    row = execute(connection, sql).one()
    return RowColumns(tuple(row.compared), tuple(row.identity))


def count_differing(connection: Connection, columns: RowColumns, fragments: Mapping[str, str]) -> dict[str, int]:
    """Return, for each column in which the rows of a group differ, the number of such groups."""
    if not columns.compared:
        return {}
    differ = "pg_catalog.bool_or(NOT pg_catalog.record_image_eq(ROW(e.{0}), ROW(v.{0})))"
    flags = ", ".join(differ.format(ident(name)) for name in columns.compared)
    with settings(connection, COUNTING, local=True):
        rows = execute(connection, fill_known(template("differing"), fragments, flags=flags)).all()
    return {columns.compared[row.ord - 1]: int(row.groups) for row in rows}


def read_samples(
    connection: Connection, columns: RowColumns, fragments: Mapping[str, str], count: int, *, show_keys: bool
) -> tuple[Sample, ...]:
    """Return the largest groups with the row that would survive and those that would leave.

    Args:
        count: groups, at most.
        show_keys: whether to read key values and the values that differ.
    """
    cut = ", ".join(
        f"pg_catalog.left(t.{ident(name)}::pg_catalog.text, {SHOWN_CHARACTERS})" for name in columns.compared
    )
    key = f"pg_catalog.left(ROW({fragments['partition_by']})::pg_catalog.text, {SHOWN_CHARACTERS})"
    holes = {
        "groups": str(count),
        "shown_rows": str(SHOWN_ROWS),
        "identity": columns.identity_sql("t"),
        "key_value": key if show_keys else "NULL",
        "row_values": f"ARRAY[{cut}]::pg_catalog.text[]" if show_keys else "NULL",
    }
    with settings(connection, COUNTING, local=True):
        rows = execute(connection, fill_known(template("samples"), fragments, **holes)).all()
    return tuple(_sample(list(group), columns) for group in _groups(rows))


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
    values = [dict(zip(columns.compared, row.row_values or (), strict=False)) for row in rows]
    differing = [name for name in values[0] if len({each[name] for each in values}) > 1]
    shown = [
        SampleRow(
            identity=dict(zip(columns.identity, row.identity, strict=True)),
            values={name: each[name] for name in differing},
        )
        for row, each in zip(rows, values, strict=True)
    ]
    return Sample(rows=int(rows[0].rows), survivor=shown[0], extras=tuple(shown[1:]), key=rows[0].key_value)
