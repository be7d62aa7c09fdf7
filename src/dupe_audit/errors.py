"""One base error; the class says the kind of trouble, the message says what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from dupe_audit.findings.entry import Finding


class DupeAuditError(Exception):
    """Something could not be done; the message says what is wrong and what to do next."""

    #: the exit code of a command that ends with this error
    exit_code = 3


class WrongUsage(DupeAuditError):
    """A name, an option or a combination of them that can never work."""

    exit_code = 2


class Refused(DupeAuditError):
    """Findings that stop the work before anything was changed."""

    exit_code = 1

    def __init__(self, findings: Sequence[Finding], *, lead: str) -> None:
        self.findings = tuple(findings)
        body = "\n".join(f"  [{f.id}] {f.message}\n      {f.help}" for f in self.findings)
        super().__init__(f"{lead}\n{body}")


class Blocked(DupeAuditError):
    """A lock could not be had within the total limit; the message names who held it."""


class DuplicatesKeepComing(DupeAuditError):
    """New duplicates arrived faster than they could be cleaned and the index built."""


class NotProven(DupeAuditError):
    """A step ended, but the catalog or a count does not confirm it."""

    exit_code = 1


class Interrupted(DupeAuditError):
    """The user stopped the work; what is committed is safe and the same command continues."""

    exit_code = 130
