"""The parts of the SQL script that ``alembic upgrade --sql`` prints: statements, settings, retries and guards."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from alembic.operations import Operations

from dupe_audit import ledger
from dupe_audit.constraint import BUILDING, pause_before
from dupe_audit.directives.script.errors import failing_holes, try_holes
from dupe_audit.directives.script.quoting import interval, quoted
from dupe_audit.model import IDLE_LIMIT, WIDEST_KEY, BuildRule
from dupe_audit.postgres.session import AT_ONCE, UNHURRIED
from dupe_audit.statements import literal, statement, template

#: what the script sets for its session, and resets at its end
SESSION = {
    # Alembic writes scripts in UTF-8, whatever encoding the database or the terminal has.
    "client_encoding": "UTF8",
    "default_transaction_isolation": UNHURRIED["default_transaction_isolation"],
    "default_transaction_read_only": AT_ONCE["default_transaction_read_only"],
    "idle_in_transaction_session_timeout": IDLE_LIMIT,
    "row_security": "off",
    # The server ends the build of a killed psql by itself.
    **{name: BUILDING[name] for name in ("statement_timeout", "lock_timeout", "client_connection_check_interval")},
}

_BUILDS = """\
-- {attempts} builds at most; each fails if a duplicate arrives meanwhile.
-- Unlike the upgrade, this script does not hold the writers of a small table for a last build.
-- If all fail, it does not stamp the version: execute it again when fewer duplicates arrive, or upgrade online."""


class Script:
    """The script of one command; every method writes the next part of it."""

    def __init__(self, operations: Operations) -> None:
        self._context = operations.migration_context

    def outside_transaction(self) -> AbstractContextManager[None]:
        """Write what follows outside the transaction that stamps the version."""
        return self._context.autocommit_block()

    def write(self, sql: str) -> None:
        """Write a statement, without its semicolon."""
        self._context.impl.static_output(f"{sql};")

    def line(self, text: str) -> None:
        r"""Write a comment, or a command of psql such as ``\if``."""
        self._context.impl.static_output(text)

    def comment_on_builds(self, attempts: int) -> None:
        """Write a comment on the builds that follow."""
        self.line(_BUILDS.format(attempts=attempts))

    def pause(self, attempt: int) -> None:
        """Write the pause before a build after the first one."""
        seconds = f"{pause_before(attempt):.2f} * (0.5 + pg_catalog.random())"
        self.line(f"SELECT pg_catalog.pg_sleep({seconds}) \\gset dupe_audit_")  # which prints nothing

    def settings(self) -> None:
        """Write the settings of the session."""
        for name, value in SESSION.items():
            self.write(f"SET {name} = {literal(value)}")
        self.write(statement("offline_transaction_timeout", value=literal(BUILDING["transaction_timeout"])))
        self.write(statement("offline_path"))

    def reset(self) -> None:
        """Write the end of those settings."""
        for name in SESSION:
            self.write(f"RESET {name}")
        self.write(statement("offline_transaction_timeout", value="NULL"))
        self.write(statement("offline_path_back"))

    @contextmanager
    def with_settings(self, settings: Mapping[str, str]) -> Iterator[None]:
        """Write what follows under further settings of the session."""
        for name, value in settings.items():
            self.write(f"SET {name} = {literal(value)}")
        yield
        for name in settings:
            self.write(f"RESET {name}")

    @contextmanager
    def in_transaction(self) -> Iterator[None]:
        """Write what follows into Alembic's transaction: operators are found in pg_catalog first, no timeout ends it.

        The rest of that transaction has the path and the timeouts of before.
        """
        self.write(statement("offline_path"))
        self.write(statement("offline_timeouts"))
        yield
        self.write(statement("offline_timeouts_back"))
        self.write(statement("offline_path_back"))

    def fill_function(self) -> None:
        """Write the temporary function that fills templates, unless the script already has it."""
        if self.needs_part("fill"):
            self.write(template("offline_fill"))

    def trust_function(self) -> None:
        """Write the temporary function that judges the ledger before it is read, unless the script already has it."""
        if self.needs_part("trust"):
            trust = ledger.trust_sql(relid="v_relid", run="v_run")
            self.write(statement("offline_trust", trust=trust, shape=template("ledger_shape")))

    def comparing_function(self) -> None:
        """Write the temporary functions that compare the elements of an index, unless the script already has them."""
        self.fill_function()
        if self.needs_part("describe"):
            self.write(template("offline_describe"))
        if self.needs_part("same"):
            self.write(
                statement(
                    "offline_same", t_same_value=quoted("same_value"), says_same=statement("says_same", plan="v_plan")
                )
            )

    def expressions_function(self) -> None:
        """Write the temporary functions that judge expressions, unless the script already has them."""
        if self.needs_part("describe"):
            self.write(template("offline_describe"))
        if self.needs_part("try"):
            self.fill_function()
            self.write(statement("offline_try", **try_holes()))
        if self.needs_part("expressions"):
            self.write(template("offline_expressions"))

    def measure_function(self) -> None:
        """Write the temporary function that measures the keys of all rows, unless the script already has it."""
        self.fill_function()
        if self.needs_part("failing"):
            self.write(statement("offline_failing", **failing_holes()))
        if self.needs_part("measure"):
            self.write(statement("offline_measure", t_measure=quoted("measure"), widest_key=str(WIDEST_KEY)))

    def begin(self, mark: str) -> None:
        """Write, in the transaction before a directive, a setting that proves later that it was committed."""
        self.write(f"SET dupe_audit.reached = {literal(mark)}")

    def end(self, mark: str, subject: str) -> None:
        """Write, in the transaction after a directive, what stops it unless the one before was committed."""
        with self.in_transaction():
            self.write(statement("offline_reached", mark=literal(mark), subject=literal(subject)))

    def guard(self, condition: str, problem: str, relid: str) -> None:
        """Write what stops the script before the version is stamped, unless *condition* is true."""
        with self.in_transaction():
            self.write(statement("offline_require", condition=condition, problem=literal(problem), relid=relid))

    def retried(self, action: str, done: str, relid: str, rule: BuildRule) -> None:
        """Write a statement that is retried until it acquires its lock, and left out if *done* is true."""
        self.write(
            statement(
                "offline_retry",
                action=action,
                done=done,
                relid=relid,
                lock_timeout=literal(rule.lock_timeout),
                give_up_after=interval(rule),
            )
        )

    def forget_parts(self) -> None:
        """Write each part again when it is needed next: the transaction that created it can be rolled back."""
        self._context.opts.pop("dupe_audit_written", None)

    def is_unjudged(self, subject: str) -> bool:
        """Return whether the script has not judged a server or a table yet; a rollback takes no judgement back."""
        judged = self._context.opts.setdefault("dupe_audit_judged", set())
        if subject in judged:
            return False
        judged.add(subject)
        return True

    def needs_part(self, part: str, form: Hashable = None) -> bool:
        """Return whether a part, whose objects last to the end of the script, was not written yet in this form."""
        written = self._context.opts.setdefault("dupe_audit_written", {})
        if part in written and written[part] == form:
            return False
        written[part] = form
        return True
