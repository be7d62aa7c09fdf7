"""The demo's story, step by step: every figure is measured, every promise judged by what the database says."""

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
from dupe_audit.model import CleanupRule, Counts, DuplicateReport, UniqueKey, VerifyReport
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.interrupt import interruptible
from dupe_audit.preflight import preflight
from dupe_audit.verify import verify

# The reference project's revision 015 says the same.
KEY = UniqueKey(
    table="agent_actions",
    columns=("correlation_id", "action_name", "created_at"),
    name="unique_action_per_correlation_timestamp",
)
RULE = CleanupRule(keep="first", order_by=("id",), divergent="archive")

#: nothing of this server has to survive a crash of the machine, and a slow disk would be measured as waits
SETTINGS = {"fsync": "off", "timezone": "UTC"}

#: seconds in which the writers' redeliveries have to make a first duplicate; they come every four
PATIENCE = 12.0


class _Ends(Exception):
    """The story cannot go on; the broken promise that says why is on the screen."""


def tell(rows: int, extras: int, writers: int, console: Console) -> bool:
    """Tell the story; return whether every promise was kept. Raises as ``demo`` says."""
    expected = seed.expected(rows, extras)
    if writers < 2:
        raise WrongUsage(f"The demo needs at least two writers, for one alone cannot race; not {writers}.")
    screen = Screen(console)
    screen.title(f"Unique, live: {rows:,} rows, {extras:,} of them extras, {writers} writers")
    with ExitStack() as stack, listening(screen):
        with screen.step("Start a PostgreSQL server for this demo alone"):
            server = stack.enter_context(Server.start(settings=SETTINGS))
        url = server.url()
        engine = create_engine(url, poolclass=NullPool)
        connection = stack.enter_context(engine.connect()).execution_options(isolation_level="AUTOCOMMIT")
        with suppress(_Ends):
            Story(screen, engine, connection, libpq_url(url), expected).tell(writers)
    return screen.conclude(FOOTNOTE)


class Story:
    """The steps and what one has to remember for another."""

    def __init__(self, screen: Screen, engine: Engine, connection: Connection, conninfo: str, expected: Counts) -> None:
        self.screen = screen
        self.engine = engine
        self.connection = connection
        self.conninfo = conninfo
        self.expected = expected

    def tell(self, writers: int) -> None:
        """Go through all steps in order."""
        self.make_table()
        before = self.take_stock()
        with Writers(self.conninfo, writers) as traffic:
            self.let_them_write(traffic)
            self.look_again()
            self.upgrade()
            self.insert_at_once()
            self.live_with_it(traffic)
            self.downgrade()
            with self.screen.step("Stop the writers and compare"):
                reports = traffic.stop()
                judge(self.screen, self.connection, reports, before)
        show(self.screen, reports)

    def make_table(self) -> None:
        """Make the table as it stood before the constraint, and fill it."""
        with self.screen.step("alembic upgrade 014, then fill the table"):
            version = execute(self.connection, "SHOW server_version").scalar_one()
            self.screen.note(f"PostgreSQL {version}, on a private socket, without fsync")
            self.migrate(command.upgrade, "014")
            seed.seed(self.connection, self.expected)

    def take_stock(self) -> seed.Fingerprint:
        """Count by preflight what was seeded, and return the fingerprint that must come back."""
        with self.screen.step("dupe-audit preflight, before anybody writes"):
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
        measured = f"wrong: {', '.join(wrong)}" if wrong else f"{counts.extras:,} extras, {counts.groups:,} groups"
        self.screen.promise("preflight counts exactly what was seeded", measured, kept=not wrong)
        found = [f.id for f in report.findings if f.severity != "info"]
        self.screen.promise("only the duplicates are in the way", ", ".join(found), kept=found == ["duplicates"])
        return before

    def let_them_write(self, traffic: Writers) -> None:
        """Start the writers; go on when their redeliveries have made duplicates."""
        with self.screen.step("Start the writers; they go on until the end"):
            traffic.begin()
            deadline = time.monotonic() + PATIENCE
            while not (made := seed.written_extras(self.connection)) and time.monotonic() < deadline:
                time.sleep(0.2)
            self.screen.note(f"{made} duplicates of their own so far: one event, delivered to several of them")

    def look_again(self) -> None:
        """See the writers' duplicates arrive in preflight's count."""
        with self.screen.step("dupe-audit preflight, while they write"):
            least = self.expected.extras + seed.written_extras(self.connection)
            counts = _counted(self.screen, preflight(self.connection, KEY, RULE))
            most = self.expected.extras + seed.written_extras(self.connection)
            self.screen.note(f"{counts.extras:,} extras in {counts.rows:,} rows")
        kept = least <= counts.extras <= most
        self.screen.promise("preflight counts right while they write", f"{counts.extras:,} extras", kept=kept)

    def upgrade(self) -> None:
        """Clean up and make the constraint, and prove it."""
        with self.screen.step("alembic upgrade 015"):
            took = self.migrate(command.upgrade, "015")
        self.screen.promise("the upgrade succeeds while they write", f"{took:.1f} s", kept=True)
        with self.screen.step("dupe-audit verify"):
            report = self.verified("verify proves the constraint")
            left = seed.fingerprint(self.connection).rows
            archived = seed.archived(self.connection, ledger.archive_name(report.run.id)) if report.run else 0
        keys = self.expected.rows - self.expected.extras
        kept = archived == self.expected.extras and left == keys
        self.screen.promise("each extra is archived, each key keeps a row", f"{archived:,} and {left:,}", kept=kept)

    def insert_at_once(self) -> None:
        """Let ten connections insert the same event at the same moment."""
        with self.screen.step("Ten identical inserts at the same moment"):
            outcomes = at_once(self.conninfo, 10)
            rows = execute(
                self.connection, "SELECT count(*) FROM agent_actions WHERE agent_name = 'demo-ten'"
            ).scalar_one()
            self.screen.note(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
        kept = outcomes == {INSERTED: 1, REFUSED: 9, INSERTED_LATER: 1} and rows == 2
        self.screen.promise("of ten identical inserts one succeeds", f"{rows - 1} of 10", kept=kept)

    def live_with_it(self, traffic: Writers) -> None:
        """Let a redelivery meet the constraint, and verify again."""
        with self.screen.step("Wait for redelivered events, then dupe-audit verify"):
            time.sleep(traffic.until_next_burst())
            self.verified("no duplicate comes in under the constraint")

    def downgrade(self) -> None:
        """Drop the constraint and bring every archived row back, while they write."""
        with self.screen.step("alembic downgrade 014"):
            took = self.migrate(command.downgrade, "014")
            known = ledger.find_runs(self.connection, "true")[-1][0]
        self.screen.promise("the downgrade succeeds while they write", f"{took:.1f} s", kept=True)
        self.screen.promise(
            "all that was archived is restored",
            f"{known.restored:,} of {known.archived:,}",
            kept=known.restored == known.archived >= self.expected.extras and known.state == "restored",
        )

    def migrate(self, alembic: Callable[[Config, str], None], revision: str) -> float:
        """Run Alembic to a revision of the reference project, as its command line would; return the seconds."""
        began = time.monotonic()
        config = Config()
        config.set_main_option("script_location", str(_reference()).replace("%", "%%"))
        # Ctrl-C inside the driver would cost the connection, and Alembic would then complain of that instead.
        with self.engine.connect() as connection, interruptible(connection):
            config.attributes["connection"] = connection
            try:
                alembic(config, revision)
            except CommandError as error:
                lines = str(error).splitlines()
                for line in lines:
                    self.screen.note(line)
                self.screen.promise(f"the {alembic.__name__} succeeds while they write", lines[0], kept=False)
                raise _Ends from error
        return time.monotonic() - began

    def verified(self, promise: str) -> VerifyReport:
        """Verify, and enter the outcome under that promise."""
        report = verify(self.connection, KEY)
        errors = ", ".join(f.id for f in report.findings if f.severity == "error")
        measured = errors or f"{report.extras} extras, index valid"
        self.screen.promise(promise, measured, kept=report.ok and report.extras == 0)
        self.screen.note(measured)
        return report


def _counted(screen: Screen, report: DuplicateReport) -> Counts:
    if report.counts is None:
        screen.promise("preflight can count the table", report.findings[0].message, kept=False)
        raise _Ends
    return report.counts


def _reference() -> Path:
    """Return the reference project's migrations: a wheel carries them, a checkout has them at its top."""
    package = Path(dupe_audit.__file__).parent
    carried = package / "_reference"
    return carried if carried.is_dir() else package.parents[1] / "alembic"
