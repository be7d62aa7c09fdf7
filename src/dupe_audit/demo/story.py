"""The scenes of the demo: every figure is measured, and every promise is judged by what the database says."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from rich.console import Console
from sqlalchemy import Connection, Engine, NullPool, create_engine

import dupe_audit
from dupe_audit import ledger
from dupe_audit.connect import libpq_url
from dupe_audit.demo import seed
from dupe_audit.demo.ending import FOOTNOTE, judge, show
from dupe_audit.demo.screen import Screen, listening
from dupe_audit.demo.writers import INSERTED, INSERTED_LATER, REFUSED, Writers, at_once
from dupe_audit.embedded import Server
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import quantity
from dupe_audit.model import CleanupRule, Counts, DuplicateReport, UniqueKey, VerifyReport
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.interrupt import interruptible
from dupe_audit.preflight import preflight
from dupe_audit.verify import verify

# As in revision 015 of the reference project.
KEY = UniqueKey(
    table="agent_actions",
    columns=("correlation_id", "action_name", "created_at"),
    name="unique_action_per_correlation_timestamp",
)
RULE = CleanupRule(keep="first", order_by=("id",), divergent="archive")

#: this server need not survive a crash of the machine, and a slow disk would be measured as waits
SETTINGS = {"fsync": "off", "timezone": "UTC"}

#: seconds within which the old writers have to insert a redelivered event twice; one burst of them every four seconds
PATIENCE = 12.0


class _CannotContinueError(Exception):
    """The demo cannot continue; a broken promise on the screen says why."""


def play(rows: int, extras: int, writers: int, console: Console) -> bool:
    """Play the demo; return whether every promise was kept. For arguments and errors see ``dupe_audit.demo.demo``."""
    expected = seed.expected(rows, extras)
    if writers < 2:
        raise WrongUsage(f"The demo needs at least 2 writers, because one alone cannot race; not {writers}.")
    screen = Screen(console)
    screen.title(f"A unique constraint, live: {rows:,} rows, {extras:,} of them extras, {writers} writers")
    with ExitStack() as stack, listening(screen):
        with screen.scene("Start a temporary PostgreSQL server"):
            server = stack.enter_context(Server.start(settings=SETTINGS))
        url = server.url()
        engine = create_engine(url, poolclass=NullPool)
        connection = stack.enter_context(engine.connect()).execution_options(isolation_level="AUTOCOMMIT")
        with suppress(_CannotContinueError):
            Story(screen, engine, connection, libpq_url(url), expected).play(writers)
    return screen.conclude(FOOTNOTE)


class Story:
    """The scenes, and what they share."""

    def __init__(self, screen: Screen, engine: Engine, connection: Connection, conninfo: str, expected: Counts) -> None:
        self.screen = screen
        self.engine = engine
        self.connection = connection
        self.conninfo = conninfo
        self.expected = expected

    def play(self, writers: int) -> None:
        """Go through all scenes in order."""
        self.create_table()
        before = self.count_seeded()
        with Writers(self.conninfo, writers) as traffic:
            self.start_writers(traffic)
            self.count_during_writes()
            self.upgrade()
            self.insert_at_once()
            self.redeliver(traffic)
            self.downgrade()
            with self.screen.scene("Stop the writers and compare"):
                reports = traffic.stop()
                judge(self.screen, self.connection, reports, before)
        show(self.screen, reports)

    def create_table(self) -> None:
        """Create the table as it was before the constraint, and fill it."""
        with self.screen.scene("alembic upgrade 014, then fill the table"):
            version = execute(self.connection, "SHOW server_version").scalar_one()
            self.screen.note(f"PostgreSQL {version}, on a private socket, without fsync")
            self.migrate(command.upgrade, "014")
            seed.seed(self.connection, self.expected)

    def count_seeded(self) -> seed.Fingerprint:
        """Compare the counts of preflight with what was seeded; return the fingerprint of the seeded rows."""
        with self.screen.scene("dupe-audit preflight, before the writers start"):
            report = preflight(self.connection, KEY, RULE)
            before = seed.fingerprint(self.connection)
            self.screen.note(f"checksum of all {before.rows:,} rows: {before.checksum}")
        counts = _counted(self.screen, report)
        wrong = [name for name, figure in asdict(self.expected).items() if figure != asdict(counts)[name]]
        self.screen.table(
            ("", "seeded", "preflight"),
            [
                (name.replace("_", " "), f"{figure:,}", f"{asdict(counts)[name]:,}")
                for name, figure in asdict(self.expected).items()
            ],
        )
        measured = f"{quantity(counts.extras, 'extra')}, {quantity(counts.groups, 'group')}"
        measured = f"wrong: {', '.join(wrong)}" if wrong else measured
        self.screen.promise("preflight counts exactly what was seeded", measured, kept=not wrong)
        findings = [finding.id for finding in report.findings if finding.severity != "info"]
        self.screen.promise("duplicates are the only obstacle", ", ".join(findings), kept=findings == ["duplicates"])
        return before

    def start_writers(self, traffic: Writers) -> None:
        """Start the writers; continue once the old ones have inserted the same event twice."""
        with self.screen.scene("Start the writers; they write until the end"):
            traffic.begin()
            deadline = time.monotonic() + PATIENCE
            while not seed.count_raced_events(self.connection, traffic.new) and time.monotonic() < deadline:
                time.sleep(0.2)
            extras = seed.written_extras(self.connection)
            self.screen.note(f"{quantity(extras, 'duplicate')} so far: one event, delivered to several writers")

    def count_during_writes(self) -> None:
        """Check that preflight also counts the writers' duplicates."""
        with self.screen.scene("dupe-audit preflight, during writes"):
            least = self.expected.extras + seed.written_extras(self.connection)
            counts = _counted(self.screen, preflight(self.connection, KEY, RULE))
            most = self.expected.extras + seed.written_extras(self.connection)
            self.screen.note(f"{quantity(counts.extras, 'extra')} in {quantity(counts.rows, 'row')}")
        self.screen.promise(
            "preflight counts correctly during writes",
            quantity(counts.extras, "extra"),
            kept=least <= counts.extras <= most,
        )

    def upgrade(self) -> None:
        """Clean up, create the constraint, and prove it."""
        with self.screen.scene("alembic upgrade 015"):
            seconds = self.migrate(command.upgrade, "015")
        self.screen.promise("the upgrade succeeds during writes", f"{seconds:.1f} s", kept=True)
        with self.screen.scene("dupe-audit verify"):
            report = self.verified("verify proves the constraint")
            remaining = seed.fingerprint(self.connection).rows
            archived = seed.archived(self.connection, ledger.archive_name(report.run.id)) if report.run else 0
        keys = self.expected.rows - self.expected.extras
        self.screen.promise(
            "every extra is archived, every key keeps one row",
            f"{archived:,} and {remaining:,}",
            kept=archived == self.expected.extras and remaining == keys,
        )

    def insert_at_once(self) -> None:
        """Let ten connections insert the same event at the same moment."""
        with self.screen.scene("Ten identical inserts at the same moment"):
            outcomes = at_once(self.conninfo, 10)
            rows = execute(
                self.connection, "SELECT count(*) FROM agent_actions WHERE agent_name = 'demo-ten'"
            ).scalar_one()
            self.screen.note(", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items()))
        self.screen.promise(
            "one of ten identical inserts succeeds",
            f"{rows - 1} of 10",
            kept=outcomes == {INSERTED: 1, REFUSED: 9, INSERTED_LATER: 1} and rows == 2,
        )

    def redeliver(self, traffic: Writers) -> None:
        """Wait until events were redelivered under the constraint, and verify again."""
        with self.screen.scene("Wait for redelivered events, then dupe-audit verify"):
            time.sleep(traffic.until_next_burst())
            self.verified("the constraint lets no duplicate in")

    def downgrade(self) -> None:
        """Drop the constraint and restore every archived row, during writes."""
        with self.screen.scene("alembic downgrade 014"):
            seconds = self.migrate(command.downgrade, "014")
            run = ledger.find_runs(self.connection, "true")[-1].run
        self.screen.promise("the downgrade succeeds during writes", f"{seconds:.1f} s", kept=True)
        self.screen.promise(
            "every archived row is restored",
            f"{run.restored:,} of {run.archived:,}",
            kept=run.restored == run.archived >= self.expected.extras and run.state == "restored",
        )

    def migrate(self, alembic: Callable[[Config, str], None], revision: str) -> float:
        """Migrate the reference project to *revision*, as Alembic's command line would; return the seconds."""
        started_at = time.monotonic()
        config = Config()
        config.set_main_option("script_location", str(_reference()).replace("%", "%%"))
        # Ctrl-C inside the driver would lose the connection, and Alembic would report that instead.
        with self.engine.connect() as connection, interruptible(connection):
            config.attributes["connection"] = connection
            try:
                alembic(config, revision)
            except CommandError as error:
                lines = str(error).splitlines()
                for line in lines:
                    self.screen.note(line)
                self.screen.promise(f"the {alembic.__name__} succeeds during writes", lines[0], kept=False)
                raise _CannotContinueError from error
        return time.monotonic() - started_at

    def verified(self, promise: str) -> VerifyReport:
        """Verify the key, and record the outcome under *promise*."""
        report = verify(self.connection, KEY)
        errors = ", ".join(finding.id for finding in report.findings if finding.severity == "error")
        extras = "extras not counted" if report.extras is None else quantity(report.extras, "extra")
        measured = errors or f"{extras}, index valid"
        self.screen.promise(promise, measured, kept=report.ok and report.extras == 0)
        self.screen.note(measured)
        return report


def _counted(screen: Screen, report: DuplicateReport) -> Counts:
    if report.counts is None:
        screen.promise("preflight can count the table", report.findings[0].message, kept=False)
        raise _CannotContinueError
    return report.counts


def _reference() -> Path:
    """Return the reference project's migrations: inside the package in a wheel, at the top in a checkout."""
    package = Path(dupe_audit.__file__).parent
    installed = package / "_reference"
    return installed if installed.is_dir() else package.parents[1] / "alembic"
