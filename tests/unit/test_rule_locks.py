"""Which traced statements become a finding of the rule, and the text of the finding."""

from pathlib import Path

import pytest

from dupe_audit.checks.evidence import EmptyTrip, Evidence, Revision, SeededTrip, TracedStatement
from dupe_audit.checks.rules.locks import check, words
from dupe_audit.schema.facts import Catalog
from dupe_audit.seeding.facts import Filled

T, P = "public.orders", "public.customers"
BLANK = Catalog(tables=(), indexes=(), objects={})


def revision(id_="a1"):
    """Return a revision whose upgrade() is in line 10."""
    return Revision(
        id=id_,
        parents=(),
        path=Path(f"{id_}.py"),
        file=f"{id_}.py",
        upgrade_line=10,
        downgrade_line=20,
        empty_upgrade=False,
        empty_downgrade=False,
        refuses_downgrade=False,
        accepts=frozenset(),
    )


def traced(statement="CREATE INDEX i ON orders (a)", *, locks=((T, "SHARE"),), work=((T, "build"),), line=12, ms=2.5):
    return TracedStatement(statement=statement, line=line, seconds=ms / 1000, locks=locks, work=work)


def empty_trip(*statements, at=None):
    return EmptyTrip(revision=at or revision(), before=BLANK, statements=statements)


def trip(*statements, at=None, table=T, rows=1000):
    at = at or revision()
    filled = Filled(revision=at.id, table=table, rows=rows, exact=0, divergent=0, null_keys=0, referenced=0)
    return SeededTrip(revision=at, table=table, filled=filled, statements=statements)


def check_trips(*, empty_trips=(), seeded_trips=()):
    revisions = tuple({trip.revision.id: trip.revision for trip in (*empty_trips, *seeded_trips)}.values())
    evidence = Evidence(
        heads=("a1",), revisions=revisions, empty_trips=empty_trips, seeded_trips=seeded_trips, final_schema=None
    )
    return list(check(evidence))


def test_a_build_under_share_is_a_finding():
    """The message names lock, table, statement, work, time and rows; the place is the line of the statement."""
    (result,) = check_trips(seeded_trips=(trip(traced(ms=2500)),))

    assert (
        "public.orders is locked for as long as the work takes: SHARE blocks all writes while "
        "`CREATE INDEX i ON orders (a)` builds an index on public.orders, 2,500 ms with 1,000 rows in public.orders."
    ) == result.finding.message
    assert ("locks", "lock-during-work", "warning") == (result.rule, result.finding.id, result.finding.severity)
    assert ("a1.py", 12, "a1") == (result.place.file, result.place.line, result.place.revision)


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
    """Work without a strong lock is not a finding, nor is a strong lock without work."""
    assert [] == check_trips(empty_trips=(empty_trip(traced(locks=held, work=worked)),))


@pytest.mark.parametrize("mode", ["SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"])
@pytest.mark.parametrize("work", ["scan", "build", "rewrite"])
def test_every_strong_lock_and_every_work(mode, work):
    """Each lock that blocks writes is a finding with each kind of work."""
    (result,) = check_trips(empty_trips=(empty_trip(traced(locks=((T, mode),), work=((T, work),))),))
    assert mode in result.finding.message


def test_work_on_another_table_than_the_locked_one():
    """Locking one table while scanning another blocks the application on the first one for that long."""
    (result,) = check_trips(empty_trips=(empty_trip(traced(locks=((T, "ACCESS EXCLUSIVE"),), work=((P, "scan"),))),))

    assert result.finding.message.startswith("public.orders is locked")
    assert "scans public.customers, 2.5 ms on an empty table" in result.finding.message


def test_one_finding_per_table_and_statement():
    """A statement that locks two tables is two findings, and a statement that is executed twice is one."""
    both = ((T, "SHARE ROW EXCLUSIVE"), (P, "SHARE ROW EXCLUSIVE"))
    twice = traced("ALTER TABLE orders ADD FOREIGN KEY (a) REFERENCES customers", locks=both, work=((T, "scan"),))
    results = check_trips(empty_trips=(empty_trip(twice, twice),))
    assert [T, P] == [result.finding.message.split()[0] for result in results]


def test_the_trip_on_filled_tables_is_reported():
    """If a statement is executed in several trips, the one with rows in the table is reported."""
    results = check_trips(
        empty_trips=(empty_trip(traced(ms=1)),),
        seeded_trips=(trip(traced(ms=2), table=P), trip(traced(ms=30), rows=5000), trip(traced(ms=4), table=P)),
    )
    assert ["30.0 ms with 5,000 rows in public.orders."] == [
        result.finding.message.split(", ", 1)[1] for result in results
    ]


def test_what_happens_only_on_empty_tables_is_reported_too():
    """A statement that no seeded trip executed is reported from the empty trip; revisions are in upgrade order."""
    first, second = revision("a1"), revision("b2")
    results = check_trips(
        empty_trips=(empty_trip(traced(), at=first), empty_trip(traced(), at=second)),
        seeded_trips=(trip(traced(), at=second),),
    )

    assert ["a1", "b2"] == [result.place.revision for result in results]
    assert [True, False] == ["on an empty table" in result.finding.message for result in results]


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
    """The beginning of a statement is shown, with names and without values."""
    assert shown == words(statement)
