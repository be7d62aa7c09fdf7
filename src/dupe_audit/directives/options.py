"""The options of Alembic's command line: ``alembic -x dupe_audit.batch_size=1000 upgrade head``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from alembic.operations import Operations
from alembic.util import CommandError

from dupe_audit.errors import WrongUsage
from dupe_audit.model import BuildRule, CleanupRule

_PREFIX = "dupe_audit."


def _ids(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


#: how the value of each option is read (docs/reference/options.md)
OPTIONS: dict[str, Callable[[str], object]] = {
    "batch_size": int,
    "pause": float,
    "work_mem": str,
    "maintenance_work_mem": str,
    "max_parallel_maintenance_workers": str,
    "accept": _ids,
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

    @classmethod
    def of(cls, operations: Operations) -> Overrides:
        """Return the options of the command that is being executed.

        Raises:
            CommandError: an option does not exist, or its value cannot be read.
        """
        environment = operations.migration_context.environment_context
        arguments = environment.get_x_argument(as_dictionary=True) if environment else {}
        values: dict[str, Any] = {}
        for argument, text in arguments.items():
            if not argument.startswith(_PREFIX):
                continue
            name = argument.removeprefix(_PREFIX)
            if name not in OPTIONS:
                existing = ", ".join(f"{_PREFIX}{option}" for option in OPTIONS)
                raise CommandError(f"-x {argument} does not exist. The options are: {existing}.")
            try:
                values[name] = OPTIONS[name](text)
            except ValueError:
                kind = "whole number" if OPTIONS[name] is int else "number"
                raise CommandError(f"-x {argument}={text}: the value must be a {kind}.") from None
        return cls(**values)

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
