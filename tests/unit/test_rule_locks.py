"""Which of the traced statements are a finding of the rule, and what it says."""

from pathlib import Path

import pytest

from dupe_audit.checks.evidence import Evidence, Revision, Step, Traced, Trip
from dupe_audit.checks.rules.locks import check, words
from dupe_audit.schema.facts import Catalog
from dupe_audit.seeding.facts import Filled

T, P = "public.orders", "public.customers"
BLANK = Catalog(tables=(), indexes=(), objects={})


def revision(id_="a1"):
    """Return a revision whose upgrade() is in line 10."""
    return Revision(
        id=id_,
        down=(),
        path=Path(f"{id_}.py"),
        file=f"{id_}.py",
        upgrade_line=10,
        downgrade_line=20,
        empty_upgrade=False,
        empty_downgrade=False,
        says_irreversible=False,
        accepts=frozenset(),
    )


def traced(statement="CREATE INDEX i ON orders (a)", *, held=((T, "SHARE"),), worked=((T, "build"),), line=12, ms=2.5):
    return Traced(statement=statement, line=line, seconds=ms / 1000, held=held, worked=worked)


def step(*statements, at=None):
    return Step(revision=at or revision(), before=BLANK, statements=statements)


def trip(*statements, at=None, table=T, rows=1000):
    at = at or revision()
    filled = Filled(revision=at.id, table=table, rows=rows, exact=0, divergent=0, null_keys=0, referenced=0)
    return Trip(revision=at, table=table, filled=filled, statements=statements)


def found(*, steps=(), trips=()):
    at = tuple({one.revision.id: one.revision for one in (*steps, *trips)}.values())
    return list(check(Evidence(heads=("a1",), revisions=at, steps=steps, trips=trips, final=None)))


def test_a_build_under_share_is_a_finding():
    """The message has the lock, the table, the statement, what it did, its time and its rows; the place is its line."""
    (one,) = found(trips=(trip(traced(ms=2500)),))

    assert (
        "public.orders is locked for as long as the work takes: SHARE stops all writes while "
        "`CREATE INDEX i ON orders (a)` builds an index on public.orders, 2,500 ms with 1,000 rows in public.orders."
    ) == one.finding.message
    assert ("locks", "lock-during-work", "warning") == (one.rule, one.finding.id, one.finding.severity)
    assert ("a1.py", 12, "a1") == (one.place.file, one.place.line, one.place.revision)


@pytest.mark.parametrize(
    ("held", "worked"),
    [
        ((), ((T, "build"),)),
        (((T, "SHARE UPDATE EXCLUSIVE"),), ((T, "build"),)),
        (((T, "ROW EXCLUSIVE"),), ((T, "scan"),)),
        (((T, "ACCESS EXCLUSIVE"),), ()),
    ],
    ids=["no lock", "a concurrent build's lock", "a writer's lock", "no work"],
)
def test_no_finding(held, worked):
    """Work without a strong lock is none, nor is a strong lock without work."""
    assert [] == found(steps=(step(traced(held=held, worked=worked)),))


@pytest.mark.parametrize("mode", ["SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"])
@pytest.mark.parametrize("work", ["scan", "build", "rewrite"])
def test_every_strong_lock_and_every_work(mode, work):
    """Each lock that stops writes is a finding with each kind of work."""
    (one,) = found(steps=(step(traced(held=((T, mode),), worked=((T, work),))),))
    assert mode in one.finding.message


def test_work_on_another_table_than_the_locked_one():
    """Who locks one table and reads another stops the application on the first for as long."""
    (one,) = found(steps=(step(traced(held=((T, "ACCESS EXCLUSIVE"),), worked=((P, "scan"),))),))

    assert one.finding.message.startswith("public.orders is locked")
    assert "reads through public.customers, 2.5 ms on an empty table" in one.finding.message


def test_one_finding_for_each_table_and_statement():
    """A statement that locks two tables is two findings, and one that runs twice is one."""
    both = ((T, "SHARE ROW EXCLUSIVE"), (P, "SHARE ROW EXCLUSIVE"))
    twice = traced("ALTER TABLE orders ADD FOREIGN KEY (a) REFERENCES customers", held=both, worked=((T, "scan"),))
    seen = found(steps=(step(twice, twice),))
    assert [T, P] == [one.finding.message.split()[0] for one in seen]


def test_the_trip_on_filled_tables_is_told():
    """Of several runs of a statement, the one that had rows in the table is told."""
    seen = found(
        steps=(step(traced(ms=1)),),
        trips=(trip(traced(ms=2), table=P), trip(traced(ms=30), rows=5000), trip(traced(ms=4), table=P)),
    )
    assert ["30.0 ms with 5,000 rows in public.orders."] == [one.finding.message.split(", ", 1)[1] for one in seen]


def test_what_only_the_empty_tables_saw_is_told_too():
    """A statement that no trip came to is told from the step; revisions come in their order."""
    first, second = revision("a1"), revision("b2")
    seen = found(steps=(step(traced(), at=first), step(traced(), at=second)), trips=(trip(traced(), at=second),))

    assert ["a1", "b2"] == [one.place.revision for one in seen]
    assert [True, False] == ["on an empty table" in one.finding.message for one in seen]


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("UPDATE t SET a = 'it''s secret', b = 42 WHERE c=1.5e3", "UPDATE t SET a = …, b = … WHERE c=…"),
        ('ALTER TABLE "o\'1" ADD c2 int -- 7\n DEFAULT 5', 'ALTER TABLE "o\'1" ADD c2 int DEFAULT …'),
        ("DO $x$BEGIN PERFORM 'a'; END$x$", "DO …"),
        (r"SELECT E'a\'b' /* 'c' */, $$d$$", "SELECT … , …"),
        (r"SELECT 'C:\', 'secret', e1'5'", "SELECT …, …, e1…"),
        ("SELECT '-- no comment', 'secret' -- 'a", "SELECT …, …"),
        ("SELECT /* open", "SELECT"),
        ("INSERT INTO t VALUES ('unclosed", "INSERT INTO t VALUES (…"),
        ("CREATE INDEX i ON t (" + "abcde, " * 20 + "z)", "CREATE INDEX i ON t (" + "abcde, " * 6 + "abcde, …"),
    ],
)
def test_no_value_of_a_statement_is_shown(statement, shown):
    """A statement is shown from its beginning, with names and without values."""
    assert shown == words(statement)
