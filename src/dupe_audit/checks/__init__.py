"""The CI migration check: revisions on a scratch PostgreSQL with duplicates, up, down and up again.

In a test::

    from dupe_audit.checks import check

    def test_migrations():
        report = check("alembic.ini")
        assert report.ok, str(report)
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from dupe_audit.checks.report import CheckReport, Place, ReportedFinding, RuleRun
from dupe_audit.checks.run import Options, examine
from dupe_audit.checks.trial.scratch import EMBEDDED
from dupe_audit.checks.trial.seeded_trips import Seeding
from dupe_audit.errors import WrongUsage
from dupe_audit.seeding.facts import Filled

__all__ = [
    "CheckReport",
    "Filled",
    "Options",
    "Place",
    "ReportedFinding",
    "RuleRun",
    "Seeding",
    "check",
    "examine",
]


def check(
    config: str | PathLike[str] = "alembic.ini",
    *,
    from_: str = "base",
    to: str = "heads",
    rows: int = 1000,
    seed: int = 0,
    seed_sql: str | PathLike[str] | None = None,
    server: str = EMBEDDED,
    against: str | None = None,
    writers: Sequence[str | PathLike[str]] = (),
    squawk: bool = False,
    accept: Sequence[str] = (),
    x: Sequence[str] = (),
) -> CheckReport:
    """Check the revisions of an Alembic project, as ``dupe-audit check`` does.

    Args:
        config: the Alembic config; ``env.py`` is executed in this process and directory.
        from_: the last revision that is *not* checked.
        to: the last revision that is checked.
        rows: rows per table that is filled, from 20 to 1,000,000.
        seed: random seed; changes which rows become duplicates.
        seed_sql: a directory with SQL files named after revisions, which fill tables instead of generated rows.
        server: ``embedded``, or the URL of a server on which scratch databases are created and dropped.
        against: the URL of a database whose pending revisions are reported; empty for the configured one.
        writers: Python and SQL files, or directories of them, whose INSERTs are checked.
        squawk: also lint the revisions' offline SQL with squawk.
        accept: ids of findings that do not fail the check.
        x: arguments for ``env.py``, as for ``alembic -x``.

    Raises:
        WrongUsage: an argument, or the project's configuration, can never work.
        DupeAuditError: env.py or a revision cannot be loaded, or the server cannot be started or reached.
    """
    for name, value in (("writers", writers), ("accept", accept), ("x", x)):
        if isinstance(value, str):  # also a sequence, of its characters
            raise WrongUsage(f"{name} must be a list, such as [{value!r}], not just {value!r}.")
    seeding = Seeding(rows=rows, seed=seed, directory=Path(seed_sql) if seed_sql is not None else None)
    options = Options(
        config=str(config),
        from_=from_,
        to=to,
        server=server,
        seeding=seeding,
        writers=tuple(Path(path) for path in writers),
        squawk=squawk,
        against=against,
        accept=tuple(accept),
        x=tuple(x),
    )
    progress = examine(options)
    while True:
        try:
            next(progress)
        except StopIteration as end:
            report: CheckReport = end.value
            return report
