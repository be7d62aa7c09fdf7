"""Measure the keys of a table: whether one is too wide for an index, or cannot be computed for some rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.findings import Finding
from dupe_audit.model import READ_LOCK_TIMEOUT, CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.session import snapshot, transaction
from dupe_audit.postgres.trees import fragments_by_handful
from dupe_audit.preflight.counts import compute_order, entry_of, measure_keys, width_findings
from dupe_audit.preflight.failing import may_be_an_expression, require_failing


def measured(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> list[Finding]:
    """Return the findings of one scan of the table: the key is too wide, or cannot be computed for some rows."""
    try:
        begin = partial(transaction, connection, lock_timeout=READ_LOCK_TIMEOUT, read_only=True)
        widest = widest_entry(connection, relation, key, rule, begin, computes_order=True)
    except DBAPIError as error:
        if not may_be_an_expression(error, key, rule):
            raise
        with snapshot(connection):
            return require_failing(connection, key, relation, rule, error=error, show_keys=False)[0]
    return width_findings(widest)


def widest_entry(
    connection: Connection,
    relation: Relation,
    key: UniqueKey,
    rule: CleanupRule,
    begin: Callable[[], AbstractContextManager[None]],
    *,
    computes_order: bool = False,
) -> int:
    """Return the bytes of the widest index entry, included columns among them.

    Args:
        begin: opens the transaction in which each handful of tables is read.
        computes_order: whether to compute the expressions of the order too.
    """
    widest = 0
    for tables in fragments_by_handful(connection, relation, entry_of(key), rule):
        pieces = [fragments for _, fragments in tables]
        with begin():
            widest = max([widest, *(measure.widest_key for measure in measure_keys(connection, pieces))])
            for fragments in pieces if computes_order else ():
                compute_order(connection, fragments, rule)
    return widest
