"""The option that names many schemas, by their names or by patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import click
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import Finding, finding
from dupe_audit.model import Run, UniqueKey
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.privileges import lacking_privilege
from dupe_audit.postgres.sqlstates import INSUFFICIENT_PRIVILEGE, sqlstate
from dupe_audit.statements import ident, literal, statement

F = TypeVar("F", bound=Callable[..., Any])

NO_RUNS = "The ledger has no run of these schemas. To list all runs: dupe-audit runs"


def schemas_option(command: F) -> F:
    """Take ``--schemas``."""
    return click.option(
        "--schemas",
        multiple=True,
        metavar="NAME|PATTERN",
        help="Schema to include; repeatable. In a pattern, * stands for any characters and ? for one, such as "
        "'tenant_*'.",
    )(command)


def runs_options(command: F) -> F:
    """Take the options that choose several runs instead of numbers."""
    command = schemas_option(command)
    return click.option("--campaign", type=click.IntRange(min=1), metavar="N", help="All runs of this campaign.")(
        command
    )


def chosen_runs(
    connection: Connection, numbers: Iterable[int], campaign: int | None, schemas: tuple[str, ...]
) -> list[Run]:
    """Return the runs that a command names by their numbers, by their campaign or by the schemas of their tables.

    Raises:
        WrongUsage: it names none, or in two ways.
        DupeAuditError: the ledger has no such run, or no such campaign.
    """
    numbers = list(numbers)
    if bool(numbers) == (campaign is not None or bool(schemas)):
        raise WrongUsage("Name either the number of a run, or --campaign or --schemas.")
    if numbers:
        return [ledger.get_run(connection, number).run for number in numbers]
    if campaign is not None:
        ledger.get_campaign(connection, campaign)
    condition = "true" if campaign is None else f"r.campaign = {campaign}"
    runs = [run for run, _rule in ledger.find_runs(connection, condition) if is_named(run.schema_name, schemas)]
    if not runs:
        raise WrongUsage(NO_RUNS)
    return runs


def unreadable(connection: Connection, key: UniqueKey, error: DBAPIError) -> Finding:
    """Return the missing privilege on the table of one schema as a finding, so that the other schemas are examined.

    Raises:
        DBAPIError: it failed for another reason.
    """
    if sqlstate(error) != INSUFFICIENT_PRIVILEGE:
        raise error
    # A role that may read some columns, but not those of the key, also gets here.
    lacking = lacking_privilege(connection, str(key.schema), key.table)
    return finding("missing-privilege", lacking or f"SELECT ON {ident(str(key.schema), key.table)}")


def is_named(schema: str | None, patterns: Iterable[str]) -> bool:
    """Return whether a schema is one of those that ``--schemas`` names; without the option, all are."""
    patterns = tuple(patterns)
    return not patterns or (schema is not None and any(_matches(schema, pattern) for pattern in patterns))


def schemas_with(connection: Connection, table: str, patterns: Iterable[str]) -> list[str]:
    """Return the schemas that ``--schemas`` names: for a pattern, those that have the table.

    A name without a pattern is returned in any case, so that a missing table is reported.

    Raises:
        WrongUsage: a pattern matches no schema that has the table.
    """
    existing = list(execute(connection, statement("schemas_with_table", table_name=literal(table))).scalars())
    names: dict[str, None] = {}
    for pattern in patterns:
        matching = [name for name in existing if _matches(name, pattern)]
        if not matching and _is_pattern(pattern):
            raise WrongUsage(
                f"--schemas {pattern!r}: no schema of that name has a table {table}. In a pattern, * stands for any "
                "characters; quote it for the shell."
            )
        names |= dict.fromkeys(matching or [pattern])
    return list(names)


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or (_is_pattern(pattern) and fnmatchcase(name, pattern.replace("[", "[[]")))


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text
