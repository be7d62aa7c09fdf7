"""A shard is an ordinary table on one node: statements reach it through the coordinator, one transaction each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, Result, Row
from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import DupeAuditError
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import LOCK_NOT_AVAILABLE
from dupe_audit.statements import literal, statement, text_array

#: commands at once; each takes a connection of its node
_AT_ONCE = 16

#: how a block on a shard reports its error, because Citus passes on the message alone
_CODE = re.compile(r"^(?:ERROR|FATAL):\s+(?:dupe-audit ([0-9A-Z]{5}) )?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One shard of a distributed table."""

    id: int
    name: str  #: of its table on the node, qualified and quoted
    host: str
    port: int

    @property
    def where(self) -> str:
        """The shard and its node, in words."""
        return f"shard {self.name} on {self.host}:{self.port}"


class Answer(NamedTuple):
    """What a command on one shard returned."""

    success: bool
    result: str  #: its single value, or its error

    @property
    def code(self) -> str:
        """The SQLSTATE of an error; empty if it is not known."""
        match = _CODE.match(self.result)
        return (match[1] or "") if match and not self.success else ""

    @property
    def message(self) -> str:
        """The error without its SQLSTATE."""
        match = _CODE.match(self.result)
        return match[2] if match else self.result


class ShardFailure(DBAPIError):
    """A statement failed on a shard; it has the SQLSTATE as errors of the coordinator have."""

    def __init__(self, shard: Shard, answer: Answer, sql: str) -> None:
        super().__init__(sql, None, _Origin(f"{answer.message} ({shard.where})", answer.code))


class RemoteTimeout(DBAPIError):
    """A statement was ended while it waited on another node, where the lock timeout does not hold."""

    def __init__(self, sql: str) -> None:
        super().__init__(sql, None, _Origin("a node did not answer in time", LOCK_NOT_AVAILABLE))


class _Origin(Exception):
    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.sqlstate = code


def shards(connection: Connection, relid: int | str) -> list[Shard]:
    """Return the shards of a distributed table, in the order of their hash ranges; a replicated one several times.

    Args:
        relid: the oid of the table, or SQL for it.
    """
    return [Shard(**row) for row in execute(connection, statement("citus_shards", relid=str(relid))).mappings()]


def shards_beside(connection: Connection, relation: Relation, archive: str) -> list[Shard]:
    """Return the shards of an archive, each at the place of the shard of the table whose rows it has.

    Raises:
        DupeAuditError: the table was distributed, or distributed in another way, after the archive was created.
    """
    beside = shards(connection, f"{literal(archive)}::pg_catalog.regclass::pg_catalog.oid")
    own = shards(connection, relation.relid)
    if [(shard.host, shard.port) for shard in own] != [(shard.host, shard.port) for shard in beside]:
        raise DupeAuditError(
            f"{archive} is not divided among the nodes as {relation.name} is: after the archive was created, the "
            "table was distributed, or distributed in another way. Undo that, or move the archived rows by hand and "
            "purge the run (dupe-audit runs lists it)."
        )
    return beside


def on_shards(connection: Connection, commands: Iterable[tuple[Shard, str]]) -> list[Answer]:
    """Execute one command per shard on its node, some at a time; return the answers in the same order.

    Args:
        commands: statements without a result, or with a single value.
    """
    answers: list[Answer] = []
    remaining = iter(commands)
    while some := list(islice(remaining, _AT_ONCE)):
        sql = statement(
            "citus_run",
            hosts=text_array(shard.host for shard, _ in some),
            ports=f"ARRAY[{', '.join(str(shard.port) for shard, _ in some)}]::pg_catalog.int4[]",
            commands=text_array(command for _, command in some),
            parallel=literal(len(some) > 1),
        )
        answers += [Answer(row.success, row.result or "") for row in execute(connection, sql)]
    return answers


def do_settings(values: Mapping[str, str]) -> str:
    """Return the statement of a block that changes settings for its transaction."""
    calls = (f"pg_catalog.set_config({literal(name)}, {literal(value)}, true)" for name, value in values.items())
    return f"PERFORM {', '.join(calls)}"


def read(connection: Connection, queries: Iterable[tuple[Shard, str]]) -> list[Sequence[Row[Any]]]:
    """Execute one query per shard on its node; return the rows of each. They travel as JSON.

    Raises:
        ShardFailure: one failed.
    """
    pairs = list(queries)
    answers = on_shards(connection, [(shard, statement("citus_rows", shard_query=sql)) for shard, sql in pairs])
    for (shard, sql), answer in zip(pairs, answers, strict=True):
        if not answer.success:
            raise ShardFailure(shard, answer, sql)
    return [_rows(json.loads(answer.result or "[]")) for answer in answers]


def _rows(rows: Sequence[dict[str, Any]]) -> Sequence[Row[Any]]:
    names = list(rows[0]) if rows else []
    result: Result[Any] = IteratorResult(SimpleResultMetaData(names), iter([tuple(row.values()) for row in rows]))
    return result.all()
