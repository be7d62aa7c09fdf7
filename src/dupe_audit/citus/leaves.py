"""The shards of a distributed table as ordinary tables, each with the pieces of SQL that statements are filled with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row

from dupe_audit.citus.shards import Shard, read, shards
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import Relation, rule_fragment_holes
from dupe_audit.statements import fill_known, literal, statement, template, text_array


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTable:
    """One shard, with what fills the statements that work on it on its node."""

    shard: Shard
    relation: Relation
    holes: Mapping[str, str]

    def sql(self, name: str, **more: str) -> str:
        """Return a statement filled for this shard."""
        return fill_known(template(name), self.holes, **more)

    def with_holes(self, **more: str) -> ShardTable:
        """Return the same shard with more to fill its statements with."""
        return replace(self, holes={**self.holes, **more})


def leaves(connection: Connection, relid: int, key: UniqueKey, rule: CleanupRule) -> list[ShardTable]:
    """Return the shards of a distributed table, with the names and numbers of their nodes' catalogs."""
    places, derived = shards(connection, relid), rule_fragment_holes(key, rule)
    queries = []
    for shard in places:
        oid = f"{literal(shard.name)}::pg_catalog.regclass::pg_catalog.oid"
        parts = {"relation": statement("relation", relid=oid), "holes": statement("fragments", relid=oid, **derived)}
        # Together, because each query takes a connection of the node.
        columns = ", ".join(
            f"(SELECT pg_catalog.row_to_json(q) FROM ({sql}) AS q) AS {name}" for name, sql in parts.items()
        )
        queries.append((shard, f"SELECT {columns}"))
    of_shards = []
    for shard, (row,) in zip(places, read(connection, queries), strict=True):
        relation = Relation(**{**row.relation, "relid": int(row.relation["relid"])})
        holes = {name: str(value) for name, value in row.holes.items()}
        holes |= {
            "key_names": text_array(filter(None, key.names)),
            "relid": str(relation.relid),
            "relids": str(relation.relid),
        }
        of_shards.append(ShardTable(shard=shard, relation=relation, holes=holes))
    return of_shards


def read_each(connection: Connection, of: Sequence[ShardTable], name: str, **more: str) -> list[Sequence[Row[Any]]]:
    """Execute a query on every shard; return the rows of each."""
    return read(connection, [(leaf.shard, leaf.sql(name, **more)) for leaf in of])


def violated(connection: Connection, of: Sequence[ShardTable], **extras: str) -> list[tuple[str, int]]:
    """Return what rows of the shards violate, in words, each with the number of rows, as ``insertable.violated``.

    Args:
        extras: what fills ``extras`` and ``is_extra`` of ``count_uninsertable.sql``, as templates of a leaf.
    """
    own_index = "NULL::pg_catalog.text"
    checked = [
        (leaf, row.subjects, row.counts)
        for leaf, rows in zip(of, read_each(connection, of, "insertable", own_index=own_index), strict=True)
        for row in rows
    ]
    queries = [
        (leaf.shard, leaf.sql("count_uninsertable", counts=counts, **_filled(leaf, extras)))
        for leaf, _, counts in checked
    ]
    sums: Counter[str] = Counter()
    for (leaf, subjects, _), (row,) in zip(checked, read(connection, queries), strict=True):
        # An index or a foreign key of a shard has the shard's number at its end.
        names = [subject.removesuffix(f"_{leaf.shard.id}") for subject in subjects]
        sums.update(dict(zip(names, row.counts, strict=True)))
    return [(subject, count) for subject, count in sums.items() if count]


def _filled(leaf: ShardTable, extras: Mapping[str, str]) -> dict[str, str]:
    return {name: fill_known(text, leaf.holes) for name, text in extras.items()}
