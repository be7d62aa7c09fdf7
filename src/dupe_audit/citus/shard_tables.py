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


def shard_tables(connection: Connection, relid: int, key: UniqueKey, rule: CleanupRule) -> list[ShardTable]:
    """Return the shards of a distributed table, with the names and numbers of their nodes' catalogs."""
    all_shards, derived = shards(connection, relid), rule_fragment_holes(key, rule)
    queries = []
    for shard in all_shards:
        oid = f"{literal(shard.name)}::pg_catalog.regclass::pg_catalog.oid"
        relation, fragments = statement("relation", relid=oid), statement("fragments", relid=oid, **derived)
        # Together, because each query takes a connection of the node.
        queries.append((shard, statement("citus_shard_table", relation_query=relation, fragments_query=fragments)))
    result = []
    for shard, (row,) in zip(all_shards, read(connection, queries), strict=True):
        of_shard = Relation(**{**row.relation, "relid": int(row.relation["relid"])})
        holes = {name: str(value) for name, value in row.holes.items()}
        holes |= {
            "key_names": text_array(filter(None, key.names)),
            "relid": str(of_shard.relid),
            "relids": str(of_shard.relid),
        }
        result.append(ShardTable(shard=shard, relation=of_shard, holes=holes))
    return result


def read_each(connection: Connection, tables: Sequence[ShardTable], name: str, **more: str) -> list[Sequence[Row[Any]]]:
    """Execute a query on every shard; return the rows of each."""
    return read(connection, [(table.shard, table.sql(name, **more)) for table in tables])


def violated(connection: Connection, tables: Sequence[ShardTable], **extras: str) -> list[tuple[str, int]]:
    """Return what rows of the shards violate, in words, each with the number of rows, as ``insertable.violated``.

    Args:
        extras: what fills ``extras`` and ``is_extra`` of ``count_uninsertable.sql``, as templates of a shard.
    """
    own_index = "NULL::pg_catalog.text"
    checked = [
        (table, row.subjects, row.counts)
        for table, rows in zip(tables, read_each(connection, tables, "insertable", own_index=own_index), strict=True)
        for row in rows
    ]
    queries = [
        (table.shard, table.sql("count_uninsertable", counts=counts, **_filled(table, extras)))
        for table, _, counts in checked
    ]
    sums: Counter[str] = Counter()
    for (table, subjects, _), (row,) in zip(checked, read(connection, queries), strict=True):
        # An index or a foreign key of a shard has the shard's number at its end.
        names = [subject.removesuffix(f"_{table.shard.id}") for subject in subjects]
        sums.update(dict(zip(names, row.counts, strict=True)))
    return [(subject, count) for subject, count in sums.items() if count]


def _filled(table: ShardTable, extras: Mapping[str, str]) -> dict[str, str]:
    return {name: fill_known(text, table.holes) for name, text in extras.items()}
