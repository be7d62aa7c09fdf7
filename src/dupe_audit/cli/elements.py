"""Options that name a key, whatever it is made of, and the rule that decides which rows survive."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click
from sqlalchemy import Connection

from dupe_audit.errors import WrongUsage
from dupe_audit.model import CleanupRule, Expression, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import statement

F = TypeVar("F", bound=Callable[..., Any])

#: options of the rule, by parameter
RULE_OPTIONS = {
    "keep": "--keep",
    "order_by": "--order-by",
    "divergent": "--divergent",
    "references": "--references",
    "ignore": "--ignore",
}


class KeyCommand(click.Command):
    """A command whose ``-c`` and ``-e`` are one list, in the order in which they were given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; ``columns`` becomes the elements of the key."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:
            if "extra argument" not in error.message:
                raise
            hint = "Quote SQL for the shell, as in --where 'deleted_at IS NULL'."
            raise click.UsageError(f"{error.message}. {hint}", ctx) from None
        values = {name: iter(ctx.params.pop(name, None) or ()) for name in ("columns", "expressions")}
        ctx.params["columns"] = tuple(
            Expression(next(values["expressions"])) if parameter.name == "expressions" else next(values["columns"])
            for parameter in given
            if parameter.name in values
        )
        return rest


def key_options(command: F) -> F:
    """Take the options that name a table and a key."""
    for option in (
        click.option("--nulls-not-distinct", is_flag=True, help="Treat NULLs as equal (PostgreSQL 15 and later)."),
        click.option("--name", metavar="NAME", help="Name of the constraint or index, planned or existing."),
        click.option("--where", metavar="SQL", help="Predicate: the key covers only the rows for which it is true."),
        click.option(
            "-e", "--expression", "expressions", multiple=True, metavar="SQL", help="Expression of the key; repeatable."
        ),
        click.option(
            "-c",
            "--column",
            "columns",
            multiple=True,
            metavar="COL",
            help="Column of the key; repeatable. Columns and expressions keep their order.",
        ),
        click.option("--table", metavar="TABLE", help="Exact name of the table, unquoted."),
        click.option("--schema", metavar="SCHEMA", help="Schema of the table. Default: from the search path."),
    ):
        command = option(command)
    return command


def rule_options(command: F) -> F:
    """Take the options of the rule that decides which rows survive; without defaults, to see which ones were given."""
    for option in (
        click.option(
            "--ignore", multiple=True, metavar="COL", help="Column in which exact copies may differ; repeatable."
        ),
        click.option(
            "--references",
            type=click.Choice(("refuse", "repoint")),
            help="Rule for rows of other tables that reference extras: stop the cleanup, or point them at the "
            "survivor. Default: refuse.",
        ),
        click.option(
            "--divergent",
            type=click.Choice(("refuse", "archive")),
            help="Rule for groups that carry different data: stop the cleanup, or archive all rows but one. "
            "Default: refuse.",
        ),
        click.option(
            "--order-by",
            multiple=True,
            metavar="COL|SQL",
            help="Column, or SQL with a direction such as 'last_login DESC NULLS LAST'; repeatable. "
            "Default: the primary key.",
        ),
        click.option(
            "--keep",
            type=click.Choice(("first", "last")),
            help="Row of each group that survives, by the order. Default: first.",
        ),
    ):
        command = option(command)
    return command


def require_fitting(table: str | None, *, schema: str | None, schemas: tuple[str, ...], rule: dict[str, Any]) -> None:
    """Refuse options of the key and its rule that have no effect together.

    Raises:
        WrongUsage: schemas are named in two ways, or a rule is given without a key: revisions have their own.
    """
    if schema and schemas:
        raise WrongUsage("--schema and --schemas cannot be given together.")
    if not table and (given := [RULE_OPTIONS[name] for name, value in rule.items() if value]):
        raise WrongUsage(
            f"{', '.join(given)}: without --table, the rule of each revision is used. To try another rule, name the "
            "key: preflight --table T -c COL."
        )


def cleanup_rule(connection: Connection, key: UniqueKey, options: dict[str, Any]) -> CleanupRule:
    """Return the rule that the options describe.

    Args:
        connection: says which parts of the order are columns of the table.
        options: by parameter; empty and None take the default.

    Raises:
        WrongUsage: they do not fit together.
    """
    given = {name: value for name, value in options.items() if value}
    if order := given.get("order_by"):
        given["order_by"] = _order(connection, key, order)
        if given.get("keep") == "last" and any(isinstance(part, Expression) for part in given["order_by"]):
            raise WrongUsage(
                "--keep last would reverse an order that is written as SQL. Leave --keep out, and give each part its "
                "direction, such as --order-by 'last_login DESC NULLS LAST'."
            )
    return CleanupRule(**given)


def _order(connection: Connection, key: UniqueKey, order: tuple[str, ...]) -> tuple[str | Expression, ...]:
    """Return an order as names and expressions: anything that is neither a column nor a single word is SQL."""
    match = catalog.find(connection, key)
    query = statement("relation_columns", relid=str(match[1].relid)) if match else None
    columns = set(execute(connection, query).scalars()) if query else set()
    return tuple(part if part in columns or re.fullmatch(r"\w+", part) else Expression(part) for part in order)
