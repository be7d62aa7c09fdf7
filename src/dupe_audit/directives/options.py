"""The options of Alembic's command line: ``alembic -x dupe_audit.batch_size=1000 upgrade head``."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from alembic.operations import Operations
from alembic.util import CommandError

from dupe_audit.errors import WrongUsage
from dupe_audit.findings import CATALOGUE, STEPS
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey

log = logging.getLogger("alembic.dupe_audit")

_PREFIX = "dupe_audit."


def _ids(text: str) -> tuple[str, ...]:
    ids = tuple(part.strip() for part in text.split(",") if part.strip())
    acceptable = sorted(id_ for id_, entry in STEPS.items() if entry.acceptable)
    for id_ in ids:
        if id_ not in CATALOGUE:
            raise WrongUsage(f"{id_!r} is not the id of a finding. Those that can be accepted: {', '.join(acceptable)}")
        if id_ not in acceptable:
            log.warning("finding %s cannot be accepted; it stays an error", id_)
    return ids


def _option_names() -> str:
    return ", ".join(f"{_PREFIX}{option}" for option in OPTIONS)


def _require_no_typo(argument: str) -> None:
    """Refuse one of our options with a mistyped prefix, such as ``dupe-audit.pause``; nobody would notice.

    Raises:
        CommandError: it is one.
    """
    letters = re.sub(r"[^a-z]", "", argument.lower())
    if letters in {re.sub(r"[^a-z]", "", f"{_PREFIX}{option}") for option in OPTIONS}:
        raise CommandError(f"-x {argument} does not exist. The options are: {_option_names()}.")


def size(text: str) -> str:
    """Return the text of a size, such as ``256MB``.

    Raises:
        WrongUsage: no server would read it.
    """
    # The server judges the range; here, only what no server would read.
    if not re.fullmatch(r"\s*[0-9]+(\.[0-9]+)?\s*(B|kB|MB|GB|TB)?\s*", text):
        raise WrongUsage("the value must be a size as PostgreSQL writes it, such as 256MB")
    return text


def _workers(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) > MAX_WORKERS:
        raise WrongUsage(f"the value must be a whole number from 0 to {MAX_WORKERS:,}")
    return text


def _tables(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names or any(name.startswith('"') and name.endswith('"') for name in names):
        raise WrongUsage("the value must be names of tables, separated by commas and written without quotes")
    return names


#: the largest value that PostgreSQL accepts for max_parallel_maintenance_workers
MAX_WORKERS = 1024

#: how the value of each option is read (docs/reference/options.md)
OPTIONS: dict[str, Callable[[str], object]] = {
    "batch_size": int,
    "pause": float,
    "work_mem": size,
    "maintenance_work_mem": size,
    "max_parallel_maintenance_workers": _workers,
    "accept": _ids,
    "partitioned": _tables,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What ``-x dupe_audit.…`` overrides for one command; None leaves the revision's value or the server's setting."""

    batch_size: int | None = None  #: rows per transaction
    pause: float | None = None  #: seconds between two batches
    work_mem: str | None = None  #: a size, as PostgreSQL writes it
    maintenance_work_mem: str | None = None  #: a size
    max_parallel_maintenance_workers: str | None = None
    accept: tuple[str, ...] = ()  #: ids of findings
    partitioned: tuple[str, ...] = ()  #: partitioned tables, for which a script works leaf by leaf

    @classmethod
    def of(cls, operations: Operations) -> Overrides:
        """Return the options of the command that is being executed.

        Raises:
            CommandError: an option does not exist, its prefix is mistyped, or its value cannot be read.
        """
        environment = operations.migration_context.environment_context
        values: dict[str, Any] = {}
        for given in environment.get_x_argument() if environment else ():
            argument, _, text = given.partition("=")
            if not argument.startswith(_PREFIX):
                _require_no_typo(argument)
                continue
            name = argument.removeprefix(_PREFIX)
            if name not in OPTIONS:
                raise CommandError(f"-x {argument} does not exist. The options are: {_option_names()}.")
            try:
                value: Any = OPTIONS[name](text)
                # A list can be given in parts; of other options the last value counts, as Alembic does it.
                values[name] = (*values.get(name, ()), *value) if isinstance(value, tuple) else value
            except WrongUsage as error:
                raise CommandError(f"-x {argument}={text}: {error}.") from None
            except ValueError:
                kind = "whole number" if OPTIONS[name] is int else "number"
                raise CommandError(f"-x {argument}={text}: the value must be a {kind}.") from None
        overrides = cls(**values)
        overrides.cleanup_rule(CleanupRule())  # its range, before anything acts
        return overrides

    def accepting(self, ids: Collection[str]) -> Overrides:
        """Return these options with more accepted findings, such as those in comments of the revision."""
        return replace(self, accept=tuple(dict.fromkeys([*self.accept, *sorted(ids)])))

    def is_partitioned(self, key: UniqueKey) -> bool:
        """Return whether the option names the table as partitioned; a script is printed without asking the database."""
        return key.table in self.partitioned or f"{key.schema}.{key.table}" in self.partitioned

    def settings(self) -> dict[str, str]:
        """Return the settings of the server that these options change, to be tried before anything is written."""
        values = {
            "work_mem": self.work_mem,
            "maintenance_work_mem": self.maintenance_work_mem,
            "max_parallel_maintenance_workers": self.max_parallel_maintenance_workers,
        }
        return {name: value for name, value in values.items() if value is not None}

    def cleanup_rule(self, rule: CleanupRule) -> CleanupRule:
        """Return *rule* as these options override it.

        Raises:
            CommandError: a value is out of range.
        """
        overrides = {"batch_size": self.batch_size, "pause": self.pause}
        try:
            return replace(rule, **{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
        except WrongUsage as error:
            raise CommandError(str(error)) from None

    def build_rule(self, rule: BuildRule) -> BuildRule:
        """Return *rule* with the memory and the workers of these options."""
        return replace(
            rule,
            maintenance_work_mem=self.maintenance_work_mem,
            max_parallel_maintenance_workers=self.max_parallel_maintenance_workers,
        )
