"""Names and texts inside the SQL script: identifiers, dollar quotes, and what would end one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from alembic.util import CommandError

from dupe_audit.model import BuildRule, CleanupRule, UniqueKey, milliseconds
from dupe_audit.postgres import catalog
from dupe_audit.postgres.planner import SEQUENTIAL, settings_sql
from dupe_audit.statements import ident, literal, statement, template, text_array

#: dollar quotes of the script; a name that contains one would end a quoted part
_TAGS = re.compile(
    r"\$(fill|trust|undo|open|path|clean|state|guard|attach|restore|reached|judge|statement|dropped|describe|expressions|same|measure|"
    r"failing|failing_rows|try|try_index|path_problems|"
    r"private|adopt|prepare|references|objections|stage|batch|move|amend|merge|changes|images|trial|why|violated|restorable|settle|"
    r"constraints|put|revert|tree|leaf|parts|adopt|count|dupe_audit)\$"
)


def table_sql(key: UniqueKey) -> str:
    """Return the key's table as SQL names it."""
    return ident(key.schema, key.table) if key.schema else ident(key.table)


def interval(build: BuildRule) -> str:
    """Return the total wait for one lock as the literal of an interval."""
    return literal(f"{milliseconds(build.give_up_after)} ms")


def quoted(name: str) -> str:
    """Return a template as a dollar-quoted string, its holes unfilled."""
    return f"$statement${template(name)}$statement$"


def with_templates(name: str, /, **holes: str) -> str:
    """Return a statement whose holes ``t_…`` are the templates of that name, which it fills when it is executed."""
    wanted = re.findall(r"\{(t_\w+)\}", template(name))
    return statement(name, **{hole: quoted(hole.removeprefix("t_")) for hole in wanted}, **holes)


def one_line(text: object) -> str:
    """Return text for a comment or message of the script, on one line."""
    return " ".join(str(text).split())


def check_names(key: UniqueKey, rule: CleanupRule | None = None) -> None:
    """Refuse names that would end a quoted part of the script.

    Raises:
        CommandError: a name contains one of the script's dollar quotes.
    """
    rule_names: tuple[str, ...] = ()
    if rule:
        changes = (text for change in rule.changes for text in (change.column, change.sql))
        merges = (text for merge in rule.merges for text in (merge.column, merge.how))
        rule_names = (*map(str, rule.order_by), *rule.ignore, *changes, *merges)
    for name in (
        key.table,
        key.schema or "",
        key.name or "",
        *key.elements,
        key.where or "",
        *key.include,
        *rule_names,
    ):
        if tag := _TAGS.search(name):
            raise CommandError(
                f"The name {name!r} contains {tag[0]}, which the SQL script uses as a quote. "
                "Upgrade online, without --sql."
            )


def comparison_holes(key: UniqueKey) -> dict[str, str]:
    """Return what an index of the key is compared with, as SQL values: its elements, its predicate and its form."""
    return {
        "is_plain": literal(key.is_plain),
        "elements": text_array(map(catalog.element_sql, key.columns)),
        "predicate": literal(key.where),
        "is_constraint": literal(key.form == "constraint"),
    }


def differing_columns() -> str:
    """Return SQL that lists the columns ``v_names`` whose counts in ``v_row`` are not zero."""
    return f"({statement('differing_columns', names='v_names', counts='v_row.differs')})"


def counting(work_mem: str | None) -> str:
    """Return the settings of a ranking or a count of the whole table, as SQL rows.

    Args:
        work_mem: memory for its sort, as PostgreSQL writes sizes; None for the server's setting.
    """
    return settings_sql(SEQUENTIAL | ({"work_mem": work_mem} if work_mem else {}))


def constraint_exists(key: UniqueKey) -> str:
    """Return the condition that the key's constraint exists."""
    exists = statement("constraint_exists", relid=catalog.relid_sql(key), name=literal(key.name))
    return f"({exists})"


def parts_of_run(column: str, expressions: str, *, without: bool = False) -> str:
    """Return the SQL of the elements in a column of the run ``v_rule``, with NULL for those that are no expressions.

    Args:
        without: NULL for those that are.
    """
    condition = f"u.part {'<> ALL' if without else '= ANY'} (v_rule.{expressions})"
    return (
        f"ARRAY(SELECT CASE WHEN {condition} THEN u.part END "
        f"FROM pg_catalog.unnest(v_rule.{column}) WITH ORDINALITY AS u(part, ord) ORDER BY u.ord)"
    )


def lines(statements: Iterable[str], *, indent: int = 4) -> str:
    """Return statements for the end of a line of a procedure, each on its own line."""
    return "".join(f"\n{' ' * indent}{each};" for each in statements)
