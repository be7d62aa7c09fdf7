"""Names for the parts of a constraint or index on the tables of a tree, by PostgreSQL's own rule.

A part gets the name that the server would give it if one statement created the whole, and that the server gives to the
parts of later partitions: ``measurements_2026_01_sensor_id_taken_on_key``. So an upgraded database equals one that was
created with the constraint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection

from dupe_audit.ledger import Leaf
from dupe_audit.model import MAX_IDENTIFIER, Expression, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.names import default_name, truncate_name
from dupe_audit.statements import ident, literal, statement, text_array

#: how a SELECT names an expression that has no name, and how an index does
UNNAMED, NAMELESS = "?column?", "expr"


def part_names(
    connection: Connection, root: Relation, key: UniqueKey, parts: Sequence[Relation], entered: Mapping[int, Leaf]
) -> dict[int, str]:
    """Return names for the indexes that have none in the ledger, by the oid of their table.

    Args:
        root: the partitioned table that the key names.
        parts: tables below it.
        entered: the ledger's entry of every table below it; names in these entries are taken too.
    """
    label = "key" if key.form == "constraint" else "idx"
    schemas = text_array(sorted({part.schema for part in parts}))
    sql = statement("taken_names", schemas=schemas, pattern=literal(f"_{label}[0-9]*$"))
    taken = {(row.schema, row.name) for row in execute(connection, sql)}
    taken |= {(part.schema, str(entered[part.relid].index_name)) for part in parts}
    columns = _unique(_element_names(connection, root, key))
    names: dict[int, str] = {}
    numbers: dict[tuple[str, str], int] = {}  # a long name is cut, so many tables can have the same beginning
    for part in parts:
        if entered[part.relid].index_name is None:
            first = (part.schema, default_name(part.table, columns, label))
            number, name = numbers.get(first, 0), first[1]
            while number or (part.schema, name) in taken:
                name = default_name(part.table, columns, f"{label}{number or ''}")
                if (part.schema, name) not in taken:
                    break
                number += 1
            numbers[first] = number + 1
            taken.add((part.schema, name))
            names[part.relid] = name
    return names


def _element_names(connection: Connection, root: Relation, key: UniqueKey) -> list[str]:
    """Return the names of an index's columns, before equal ones are numbered."""
    if None not in key.names:
        return [*map(str, key.columns), *key.include]
    elements = ", ".join(f"({each.sql})" if isinstance(each, Expression) else ident(each) for each in key.columns)
    names = execute(connection, statement("element_names", elements=elements, table=root.name)).keys()
    return [*(NAMELESS if name == UNNAMED else name for name in names), *key.include]


def _unique(names: Iterable[str]) -> list[str]:
    """Return the names, with a number after each that is repeated, as the server numbers them."""
    result: list[str] = []
    for name in names:
        unique, number = name, 0
        while unique in result:
            number += 1
            suffix = str(number)
            unique = truncate_name(name, MAX_IDENTIFIER - len(suffix)) + suffix
        result.append(unique)
    return result
