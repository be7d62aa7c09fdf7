"""The rule of the seeded round trip, on evidence made by hand."""

from pathlib import Path

from dupe_audit.checks.evidence import Evidence, Failure, Revision, Step, Trip
from dupe_audit.checks.rules.round_trip import check
from dupe_audit.schema.facts import Catalog
from dupe_audit.seeding.facts import Filled

NOTHING = Catalog(tables=(), indexes=(), objects={})
REVISION = Revision(
    id="b2",
    down=("a1",),
    path=Path("b2.py"),
    file="b2.py",
    upgrade_line=3,
    downgrade_line=9,
    empty_upgrade=False,
    empty_downgrade=False,
    says_irreversible=False,
    accepts=frozenset(),
)


def found(*trips, **step):
    """Return ids, messages and lines of what the rule finds."""
    steps = (Step(revision=REVISION, before=NOTHING, **step),)
    evidence = Evidence(heads=("b2",), revisions=(REVISION,), steps=steps, trips=trips, final=NOTHING)
    return [(one.finding.id, one.finding.message, one.place.line) for one in check(evidence)]


def trip(table, **what):
    """Return a trip for a table of the revision."""
    return Trip(revision=REVISION, table=table, filled=Filled(revision="b2", table=table, rows=9), **what)


def test_one_reason_is_told_once():
    """A revision that fails for the same reason with each of its tables filled has one finding."""
    failure = Failure(reason="column x of relation a contains null values", sqlstate="23502", line=5)
    told = found(trip("public.a", up=failure), trip("public.b", up=failure))
    assert [("upgrade-fails-on-rows", 5)] == [(id_, line) for id_, _message, line in told]


def test_two_reasons_are_told_both():
    """Two tables that are not unique for reasons of their own have a finding each."""
    failure = Failure(reason="could not create unique index", sqlstate="23505")
    told = found(*(trip(f"public.{name}", up=failure, extras=3, key="(id)") for name in "ab"))
    assert ["unique-over-duplicates"] * 2 == [id_ for id_, _message, _line in told]
    assert [f"Duplicates in public.{name} stop this revision: 3 extras in 9 rows, key (id)." for name in "ab"] == [
        message for _id, message, _line in told
    ]


def test_lost_rows_are_told_by_the_trip_of_their_table():
    """Rows that a table lost in the trip of another are told once, by its own trip, at the downgrade."""
    told = found(
        trip("public.a", differs={"public.a": (9, 0), "public.b": (2, 0)}),
        trip("public.b", differs={"public.b": (7, 1), "public.c": (1, 0)}),
    )
    assert [("rows-lost", 9)] * 3 == [(id_, line) for id_, _message, line in told]
    assert ["public.a", "public.b", "public.c"] == [
        next(table for table in ("public.a", "public.b", "public.c") if table in message)
        for _id, message, _line in told
    ]
    assert "7 rows lost, 1 new or changed" in told[1][1]


def test_a_second_upgrade_that_fails_is_told_once():
    """What fails on empty tables already is not told again for every table with rows."""
    failure = Failure(reason="type state already exists", sqlstate="42710")
    assert 1 == len(found(trip("public.a", up_again=failure), up_again=failure))


def test_an_extension_that_the_server_lacks_is_hinted_at():
    """Where an extension is not available, the help is about the server and not about the revision."""
    steps = (Step(revision=REVISION, before=NOTHING, up=Failure(reason='extension "x" is missing', sqlstate="0A000")),)
    evidence = Evidence(heads=("b2",), revisions=(REVISION,), steps=steps, trips=(), final=NOTHING)
    [told] = check(evidence)
    assert "--server" in told.finding.help


def test_rows_that_another_table_gained_are_no_loss():
    """All rows and some more in another table are told as such; in the table itself they are wrong rows."""
    told = found(trip("public.a", differs={"public.a": (0, 2), "public.log": (0, 4), "public.z": (1, 4)}))
    assert ["rows-lost", "rows-gained", "rows-lost"] == [id_ for id_, _message, _line in told]
    assert "public.log has additional rows: 4 after" in told[1][1]
