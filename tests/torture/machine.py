"""Any sequence of writes, steps, crashes and ways back, and after each of them what must be true."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Blocked, DupeAuditError, Refused
from dupe_audit.model import Batch, BuildRule, CleanupRule, UniqueKey
from dupe_audit.preflight import preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify
from torture.bench import Bench
from torture.promises import broken, runs
from torture.shadow import Shadow, data

SESSIONS = st.sampled_from(["autocommit", "open"])
KEYS = st.sampled_from([(1, 1), (1, 1), (2, 1), (None, 1), (2, None)])
VALUES = st.integers(0, 1)
PICK = st.integers(0, 15)
BUILD = BuildRule(lock_timeout="40ms", give_up_after="200ms", build_attempts=3)
DRIFT = ("c", "d")
BUILDING = "SELECT pid FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%' AND datname = current_database()"


class Machine(RuleBasedStateMachine):
    """The whole life of a key; ``bench`` is set by the test."""

    bench: ClassVar[Bench]

    def __init__(self) -> None:
        super().__init__()
        self.shadow = Shadow()
        self.batches: Iterator[Batch] | None = None
        self.drifted = False
        self.columns: set[str] = set()

    @initialize(
        primary_key=st.booleans(),
        nulls_not_distinct=st.booleans(),
        divergent=st.sampled_from(["archive", "archive", "refuse"]),
        keep=st.sampled_from(["first", "last"]),
        batch_size=st.integers(1, 3),
        rows=st.lists(st.tuples(KEYS, VALUES), min_size=3, max_size=8),
    )
    def begin(self, primary_key, nulls_not_distinct, divergent, keep, batch_size, rows) -> None:
        """Make the table, and choose the key and the rule."""
        bench = self.bench
        bench.lose_tool()
        bench.reset(primary_key=primary_key)
        self.primary_key = primary_key
        self.shadow.nulls_not_distinct = nulls_not_distinct and bench.server_version >= 150000
        self.key = UniqueKey(
            table="t", columns=("a", "b"), name="uq", nulls_not_distinct=self.shadow.nulls_not_distinct
        )
        ignore = () if primary_key else ("id",)
        self.rule = CleanupRule(
            keep=keep, order_by=("v", "id"), divergent=divergent, batch_size=batch_size, ignore=ignore
        )
        for key, value in rows:
            self.insert("autocommit", key, value)

    def teardown(self) -> None:
        """Leave no transaction open."""
        self._abandon()
        self.bench.end("rollback")

    # What the application does

    @rule(session=SESSIONS, key=KEYS, value=VALUES)
    def insert(self, session, key, value) -> None:
        """Insert a row that may be a duplicate."""
        row = {"id": self.shadow.new_id(), "a": key[0], "b": key[1], "v": value}
        if self.bench.write(session, "INSERT INTO t (id, a, b, v) VALUES (%s, %s, %s, %s)", tuple(row.values())):
            self.shadow.put(session, row["id"], row)

    def _update(self, session: str, pick: int, change: dict[str, Any] | None) -> None:
        in_groups = sorted(row for group in self.shadow.groups(self.bench.live()) for row in group)
        known = (in_groups if pick % 2 else None) or sorted(self.shadow.rows)
        if not known:
            return
        row = known[pick // 2 % len(known)]
        if change is None:
            wrote = self.bench.write(session, "DELETE FROM t WHERE id = %s", (row,))
        else:
            assignments = ", ".join(f"{name} = %s" for name in change)
            wrote = self.bench.write(session, f"UPDATE t SET {assignments} WHERE id = %s", (*change.values(), row))
        if wrote:
            before = self.shadow.seen_by(session, row)
            self.shadow.put(session, row, None if change is None else {**before, **change})

    @rule(session=SESSIONS, pick=PICK, key=KEYS)
    def update_key(self, session, pick, key) -> None:
        """Give a row another key."""
        self._update(session, pick, {"a": key[0], "b": key[1]})

    @rule(session=SESSIONS, pick=PICK, column=st.sampled_from(["v", "v", *DRIFT]), value=VALUES)
    def update_data(self, session, pick, column, value) -> None:
        """Change what a row carries."""
        if column == "v" or column in self.columns:
            self._update(session, pick, {column: value})

    @rule(session=SESSIONS, pick=PICK)
    def delete(self, session, pick) -> None:
        """Delete a row for good."""
        self._update(session, pick, None)

    @precondition(lambda self: self.bench.is_open)
    @rule(how=st.sampled_from(["commit", "rollback"]))
    def end(self, how) -> None:
        """End the transaction that was left open."""
        self.bench.end(how)
        if how == "commit":
            self.shadow.commit()
        self.shadow.pending.clear()

    @rule(name=st.sampled_from(DRIFT))
    def add_or_drop_column(self, name) -> None:
        """Give the table a column, or take it away."""
        live, there = self.bench.live(), name in self.columns
        verb = f"DROP COLUMN {name}" if there else f"ADD COLUMN {name} int"
        if not self.bench.write("autocommit", f"ALTER TABLE t {verb}"):
            return
        self.columns ^= {name}
        self.drifted = True
        if there:
            self.shadow.drop_column(name, live)

    # What the software does

    @contextmanager
    def judged(self, *, crash: bool = False, held: bool = False) -> Iterator[None]:
        """Let the software do something; what it archived had to be an extra, however the open transaction ends."""
        before = self.bench.archived()
        try:
            yield
        except (DupeAuditError, DBAPIError, PendingRollbackError) as error:
            self._expected(error, crash=crash, held=held or self.bench.is_open)
        archived, live = self.bench.archived(), self.bench.live()
        for row in archived.keys() - before.keys():
            for outcome in self.shadow.outcomes():
                here = [outcome[other] for other in live if other in outcome]
                if self.primary_key:
                    here = [other for other in here if other["id"] == archived[row]["dupe_audit_survivor_1"]]
                gone = self.shadow.rows[row]
                key = self.shadow.key(gone)
                kept = [other for other in here if key is not None and self.shadow.key(other) == key]
                assert kept, f"row {row} was archived, but no survivor holds its key: {gone}"
                if self.rule.divergent == "refuse":
                    assert any(data(gone) == data(other) for other in kept), f"row {row} was no copy: {gone}"

    def _expected(self, error: Exception, *, crash: bool, held: bool) -> None:
        """Raise the error again unless it had to be."""
        refused = {f.id for f in error.findings} if isinstance(error, Refused) else set()
        groups = self.shadow.groups(self.bench.live())
        allowed = (
            (isinstance(error, DBAPIError | PendingRollbackError) and crash)
            or (isinstance(error, Blocked) and held)
            or ("divergent-duplicates" in refused and any(self.shadow.divergent(group) for group in groups))
            or ("duplicates" in refused and groups and not self.cleaned)
            or ("columns changed" in str(error) and self.drifted)
            or ("no longer has" in str(error) and self.drifted)
        )
        if not allowed:
            raise error

    @property
    def cleaned(self) -> bool:
        """Whether the newest run says how to clean."""
        newest = "SELECT keep IS NOT NULL FROM dupe_audit.run ORDER BY id DESC LIMIT 1"
        return bool(runs(self.bench.sql)) and self.bench.sql(newest) == [(True,)]

    def _cleanup(self, give_up_after: str = "100ms") -> Iterator[Batch]:
        return cleanup(self.bench.tool, self.key, self.rule, lock_timeout="40ms", give_up_after=give_up_after)

    def _abandon(self) -> None:
        if self.batches is not None:
            self.batches.close()  # type: ignore[attr-defined]
        self.batches = None

    @rule()
    def count(self) -> None:
        """Preflight counts what is there."""
        self._abandon()
        with self.judged():
            counts = preflight(self.bench.tool, self.key, self.rule).counts
            groups = self.shadow.groups(self.bench.live())
            assert counts
            assert (len(groups), sum(map(len, groups))) == (counts.groups, counts.affected)
            assert sum(map(self.shadow.divergent, groups)) == counts.divergent_groups

    @rule()
    def batch(self) -> None:
        """Advance the cleanup by one batch; begin it where none is going on."""
        if self.batches is None:
            self.batches, self.drifted = self._cleanup(), False
        # Its patience also runs while it waits for its turn here, so it may give up on rows that were written since.
        with self.judged(held=True):
            try:
                if next(self.batches, None) is not None:
                    return
            except BaseException:
                self.batches = None
                raise
        self.batches = None

    @precondition(lambda self: self.batches is not None)
    @rule(session=SESSIONS, pick=PICK, key=st.none() | KEYS)
    def disturb(self, session, pick, key) -> None:
        """Give a row of a group another key, or delete it, right between two batches."""
        self._update(session, 2 * pick + 1, key and {"a": key[0], "b": key[1]})
        self.batch()

    @precondition(lambda self: self.batches is not None)
    @rule()
    def abandon(self) -> None:
        """Stop a cleanup halfway."""
        self._abandon()

    @rule()
    def clean(self) -> None:
        """Clean from beginning to end: the survivors are those that the rule says."""
        self._abandon()
        live = self.bench.live()
        groups = self.shadow.groups(live)
        with self.judged():
            moved = sum(batch.archived for batch in self._cleanup())
            assert sum(map(len, groups)) - len(groups) == moved
            choose = min if self.rule.keep == "first" else max
            survivors = {choose(group, key=lambda row: (self.shadow.rows[row]["v"], row)) for group in groups}
            assert survivors <= self.bench.live().keys()
            assert self.bench.sql("SELECT state FROM dupe_audit.run ORDER BY id DESC LIMIT 1") == [("clean",)]

    def _enforce(self) -> None:
        if self.cleaned and self.bench.sql("SELECT state FROM dupe_audit.run ORDER BY id DESC LIMIT 1") == [
            ("cleaning",)
        ]:
            list(self._cleanup())  # an upgrade that was killed begins with what it did not end
        again = (lambda: sum(batch.archived for batch in self._cleanup())) if self.cleaned else None
        enforce(self.bench.tool, self.key, BUILD, clean_again=again)
        report = verify(self.bench.tool, self.key)
        assert report.ok, report.findings
        assert report.run
        ledger.mark_enforced(self.bench.tool, report.run.id, "uq")

    @precondition(lambda self: not self.bench.is_open)
    @rule()
    def enforce(self) -> None:
        """Build, attach and verify, cleaning again where that is needed."""
        self._abandon()
        with self.judged():
            self._enforce()

    def _undo(self) -> None:
        drop(self.bench.tool, self.key, BUILD)
        for run in [*runs(self.bench.sql)][-1:]:
            for _ in restore(self.bench.tool, run, batch_size=self.rule.batch_size, give_up_after="100ms"):
                pass
            assert self.bench.sql(f"SELECT state FROM dupe_audit.run WHERE id = {run}") == [("restored",)]

    @rule()
    def undo(self) -> None:
        """Drop the constraint and put the rows back."""
        self._abandon()
        with self.judged():
            self._undo()
            assert self.bench.index_is_valid() is None
            assert self.bench.archived() == {}

    @precondition(lambda self: not self.bench.is_open)
    @rule(
        what=st.sampled_from(["clean", "enforce", "undo"]),
        n=st.integers(1, 60),
        moment=st.sampled_from(["before", "after"]),
    )
    def crash(self, what, n, moment) -> None:
        """Do something whose backend ends at its n-th statement, if it gets that far."""
        self._abandon()
        work: dict[str, Callable[[], Any]] = {
            "clean": lambda: list(self._cleanup()),
            "enforce": self._enforce,
            "undo": self._undo,
        }
        with self.bench.crashing(n, moment), self.judged(crash=True):
            work[what]()

    @precondition(lambda self: not self.bench.is_open)
    @rule(holder=st.sampled_from(["writer", "snapshot"]))
    def kill_build(self, holder) -> None:
        """End the backend in the middle of a build, so that an index stays that enforces nothing, or half of it."""
        self._abandon()
        with self.bench.holding_up(holder), self.judged(crash=True, held=True):
            error: list[BaseException] = []

            def work() -> None:
                try:
                    self._enforce()
                except BaseException as problem:  # noqa: BLE001 - it is judged where it can be
                    error.append(problem)

            thread = threading.Thread(target=work)
            thread.start()
            while thread.is_alive() and not (found := self.bench.sql(BUILDING)):
                thread.join(0.01)
            if thread.is_alive():
                self.bench.sql(f"SELECT pg_terminate_backend({found[0][0]}, 10000)")
            thread.join()
            self.bench.lose_tool()
            if error:
                raise error[0]

    @rule()
    def prove(self) -> None:
        """Verify says what is there."""
        self._abandon()
        with self.judged():
            report = verify(self.bench.tool, self.key)
            live = self.shadow.groups(self.bench.live())
            assert sum(map(len, live)) - len(live) == report.extras
            if report.ok:
                assert self.bench.sql("SELECT contype FROM pg_constraint WHERE conname = 'uq'") == [("u",)]

    # What must be true

    @invariant()
    def every_row_is_in_one_place(self) -> None:
        """A row that the application wrote and did not delete is in the table or in an archive, with its last data."""
        live, archived = self.bench.live(), self.bench.archived()
        assert not live.keys() & archived.keys()
        assert self.shadow.rows.keys() == live.keys() | archived.keys()
        for row, last in self.shadow.rows.items():
            here = live.get(row) or {k: v for k, v in archived[row].items() if not k.startswith("dupe_audit_")}
            assert data(last) == data(here)

    @invariant()
    def a_valid_index_is_true(self) -> None:
        """Where the index is valid there is no duplicate."""
        if self.bench.index_is_valid():
            assert self.bench.duplicates(nulls_not_distinct=self.shadow.nulls_not_distinct) == 0

    @invariant()
    def the_ledger_is_true(self) -> None:
        """Ledger, archives and catalog agree."""
        wrong = broken(self.bench.sql)
        assert not wrong, wrong


class Cleaning(Machine):
    """Writes and cleanups alone, which is where a naive batch goes wrong soonest."""

    abandon = add_or_drop_column = clean = count = crash = enforce = kill_build = prove = undo = None
