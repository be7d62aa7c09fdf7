"""Names and texts inside the SQL script: identifiers, dollar quotes, and what would end one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache

from alembic.util import CommandError

from dupe_audit.model import BuildRule, UniqueKey, milliseconds
from dupe_audit.postgres import catalog
from dupe_audit.postgres.planner import ranking_settings, settings_sql
from dupe_audit.statements import ident, literal, names, statement, template, text_array

#: begins and ends a template in the script
_TEMPLATE = "$statement$"


@cache
def dollar_quotes() -> frozenset[str]:
    """Return the dollar quotes that a script can contain: those of the statements, and that around a template."""
    return frozenset({_TEMPLATE, *(tag for name in names() for tag in re.findall(r"\$\w+\$", template(name)))})


def table_sql(key: UniqueKey) -> str:
    """Return the key's table as SQL names it."""
    return ident(key.schema, key.table) if key.schema else ident(key.table)


def interval(build: BuildRule) -> str:
    """Return the total wait for one lock as the literal of an interval."""
    return literal(f"{milliseconds(build.give_up_after)} ms")


def quoted(name: str) -> str:
    """Return a template as a dollar-quoted string, its holes unfilled."""
    return f"{_TEMPLATE}{template(name)}{_TEMPLATE}"


def with_templates(name: str, /, **holes: str) -> str:
    """Return a statement whose holes ``t_…`` are the templates of that name, which it fills when it is executed."""
    wanted = re.findall(r"\{(t_\w+)\}", template(name))
    return statement(name, **{hole: quoted(hole.removeprefix("t_")) for hole in wanted}, **holes)


def one_line(text: object) -> str:
    """Return text for a comment or message of the script, on one line."""
    return " ".join(str(text).split())


def check_texts(*values: object) -> None:
    """Refuse texts that would end a quoted part of the script, wherever a key or a rule has them.

    Raises:
        CommandError: a text contains one of the script's dollar quotes.
    """
    for text in _texts(values):
        if tag := next(filter(text.__contains__, sorted(dollar_quotes())), None):
            raise CommandError(
                f"The text {text!r} contains {tag}, which the SQL script uses as a quote. Change it, or execute the "
                "revision online, without --sql."
            )


def _texts(value: object) -> Iterator[str]:
    """Yield the texts of a value, such as a key, and of its parts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _texts(part)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _texts(getattr(value, field.name))


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


def counting_settings(work_mem: str | None) -> str:
    """Return the settings of a ranking or a count of the whole table, as SQL rows.

    Args:
        work_mem: memory for its sort, as PostgreSQL writes sizes; None for the server's setting.
    """
    return settings_sql(ranking_settings(work_mem))


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
