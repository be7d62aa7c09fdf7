"""A key and its rule as the ledger's columns hold them."""

from __future__ import annotations

from hashlib import sha256
from itertools import zip_longest

from sqlalchemy import RowMapping

from dupe_audit.model import Change, CleanupRule, Expression, Merge, UniqueKey
from dupe_audit.postgres.catalog import change_holes, element_sql
from dupe_audit.statements import literal, statement, text_array

#: columns of a rule that hold a list of texts
_LISTS = (
    "order_by",
    "order_expressions",
    "directions",
    "ignore",
    "changed_columns",
    "changed_values",
    "merged_columns",
    "merged_by",
)


def key_condition(relid: str, key: UniqueKey) -> str:
    """Return the condition that a run ``r`` is about the columns of *key*, by name, or by number if one was renamed.

    Args:
        relid: SQL for the oid of the table that the run is about.
    """
    elements, numbers = text_array(key.elements), key_numbers(key, f"({relid})")
    names = [name for name in key.names if name]
    expressions = text_array(filter(None, key.expressions))
    where = "r.predicate IS NULL" if key.where is None else f"r.predicate = {literal(key.where)}"
    return (
        f"(({where} AND r.key_expressions OPERATOR(pg_catalog.@>) {expressions} "
        f"AND r.key_expressions OPERATOR(pg_catalog.<@) {expressions} "
        f"AND ((r.key_columns OPERATOR(pg_catalog.@>) {elements} AND r.key_columns OPERATOR(pg_catalog.<@) {elements}) "
        f"OR (r.relation::pg_catalog.oid = r.relid AND pg_catalog.cardinality(r.key_numbers) = {len(names)} "
        f"AND r.key_numbers OPERATOR(pg_catalog.@>) ({numbers}) "
        f"AND r.key_numbers OPERATOR(pg_catalog.<@) ({numbers})))){_or_same(key)})"
    )


def _or_same(key: UniqueKey) -> str:
    """Return the rest of a condition: or the run is one of those that ``same_runs_sql`` has found."""
    return "" if key.is_plain else f" OR {is_same_run('r.id', key)}"


def is_same_run(run: str, key: UniqueKey) -> str:
    """Return the condition that a run, given as SQL, is one of those that ``same_runs_sql`` has found."""
    ids = f"pg_catalog.current_setting({literal(_setting(key))}, true)"
    return f"({run})::pg_catalog.text = ANY (pg_catalog.string_to_array({ids}, ','))"


def _setting(key: UniqueKey) -> str:
    """Return the setting that holds the runs of a key; each key has its own, so that no other key's runs are used."""
    text = repr((key.schema, key.table, key.columns, key.where))
    return f"dupe_audit.same_{sha256(text.encode()).hexdigest()[:16]}"


def same_runs_sql(relid: str, key: UniqueKey, *, trusts_index: bool = True) -> str:
    """Return the block that finds the runs of a table whose key means the same as *key*, for ``key_condition``.

    Args:
        relid: SQL for the oid of the table.
        key: with an expression or a predicate.
        trusts_index: whether a run's key may also be read from its index as it is now, and not only from its text.
    """
    return statement(
        "same_runs",
        relid=f"({relid})",
        elements=text_array(map(element_sql, key.columns)),
        predicate=literal(key.where),
        trusts_index=literal(trusts_index),
        setting=literal(_setting(key)),
        run_relation=statement("run_relation"),
        index_elements=statement("index_elements", relid="c.oid"),
        same_value=literal(statement("same_value", first="%1$s", second="%2$s", source="%3$s")),
        says_same=statement("says_same", plan="v_plan"),
    )


def key_numbers(key: UniqueKey, relid: str) -> str:
    """Return the query for the numbers of a key's columns, which a rename does not change.

    Args:
        relid: SQL for the oid of the table.
    """
    return statement("key_numbers", key=text_array(filter(None, key.names)), relid=relid)


def key_holes(key: UniqueKey, relid: str) -> dict[str, str]:
    """Return the ledger's columns of a key as SQL values; *relid* is SQL for the oid of its table."""
    return {
        "key": text_array(key.elements),
        "key_expressions": text_array(filter(None, key.expressions)),
        "predicate": literal(key.where),
        "key_numbers": key_numbers(key, relid),
        "column_places": statement("column_places", relid=relid),
        "nulls_not_distinct": literal(key.nulls_not_distinct),
        "constraint_name": literal(key.name),
    }


def rule_holes(rule: CleanupRule | None) -> dict[str, str]:
    """Return the ledger's columns of a rule as SQL values; all NULL or empty without one."""
    if rule is None:
        names = ("keep", "exact", "divergent", "on_reference", "batch_size", "pause", "max_replica_lag")
        nulls = dict.fromkeys(names, "NULL")
        return {**nulls, **dict.fromkeys(_LISTS, text_array(())), "merged_by_sql": "'{}'"}
    return {
        "keep": literal(rule.keep),
        "order_by": text_array(part.name or part.expression for part in rule.orderings),
        "order_expressions": text_array(part.expression for part in rule.orderings if part.expression),
        "directions": text_array(part.direction for part in rule.orderings),
        "exact": literal(rule.exact),
        "divergent": literal(rule.divergent),
        **change_holes(rule),
        "on_reference": literal(rule.references),
        "ignore": text_array(rule.ignore),
        "batch_size": literal(rule.batch_size),
        "pause": literal(rule.pause),
        "max_replica_lag": literal(rule.max_replica_lag),
    }


def read_elements(row: RowMapping) -> tuple[str | Expression, ...]:
    """Return the elements of the key of a row of ``runs.sql``."""
    expressions = set(row["key_expressions"])
    return tuple(Expression(sql) if sql in expressions else sql for sql in row["key_columns"])


def read_rule(row: RowMapping) -> CleanupRule | None:
    """Return the rule of a row of ``runs.sql``; None if the run must not clean."""
    if row["keep"] is None:
        return None
    return CleanupRule(
        keep=row["keep"],
        order_by=tuple(
            Expression(f"{part} {direction}") if part in row["order_expressions"] else part
            for part, direction in zip_longest(row["order_by"], row["directions"], fillvalue="")
        ),
        exact=row["exact"] or "archive",
        divergent=row["divergent"],
        changes=tuple(map(Change, row["changed_columns"], row["changed_values"])),
        merges=tuple(map(Merge, row["merged_columns"], row["merged_by"], row["merged_by_sql"])),
        references=row["on_reference"] or "refuse",
        ignore=tuple(row["ignored"]),
        batch_size=row["batch_size"],
        pause=row["pause"],
        max_replica_lag=row["max_replica_lag"],
    )
