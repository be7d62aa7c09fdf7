"""One base error. The class says what kind of trouble it is, the message what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from dupe_audit.findings import Finding


class DupeAuditError(Exception):
    """Something could not be done; the message says what is wrong and what to do next."""

    #: the exit code of a command that ends with this error
    exit_code = 3


def missing_table(table: str, schema: str | None) -> DupeAuditError:
    """Return the error about a table that does not exist in its schema; None for the search path."""
    where = f"schema {schema!r}" if schema else "any schema of the search path"
    return DupeAuditError(f"Table {table!r} does not exist in {where}. Check the name and the connection.")


class WrongUsage(DupeAuditError):
    """A name, an option or a combination of options that can never work."""

    exit_code = 2


class Refused(DupeAuditError):
    """Findings forbid the work.

    Args:
        findings: why, the worst first; empty if the user declined.
        lead: the first sentence: what is refused, and what was changed before.
        body: the reasons as text; by default, the texts of the findings.
    """

    exit_code = 1

    def __init__(self, findings: Sequence[Finding], *, lead: str, body: str | None = None) -> None:
        self.findings = tuple(findings)
        if body is None:
            body = "\n".join(f"  [{finding.id}] {finding.message}\n      {finding.help}" for finding in self.findings)
        super().__init__(f"{lead}\n{body}")


class Blocked(DupeAuditError):
    """The total wait is over; the message names what holds the work up."""


class DuplicatesKeepComing(DupeAuditError):
    """New duplicates arrived faster than they could be cleaned and the index built."""


class NotProven(DupeAuditError):
    """A step ended, but the catalog or a count does not confirm its result."""

    exit_code = 1


class Interrupted(DupeAuditError):
    """The user stopped the work. Committed work is safe, and the same command continues."""

    exit_code = 130
