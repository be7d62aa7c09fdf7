"""The rule of the seeded round trip, on evidence written by hand."""

from pathlib import Path

from dupe_audit.checks.evidence import EmptyTrip, Evidence, Failure, Revision, SeededTrip
from dupe_audit.checks.rules.round_trip import check
from dupe_audit.schema.facts import Catalog
from dupe_audit.seeding.facts import Filled

NOTHING = Catalog(tables=(), indexes=(), objects={})
REVISION = Revision(
    id="b2",
    parents=("a1",),
    path=Path("b2.py"),
    file="b2.py",
    upgrade_line=3,
    downgrade_line=9,
    empty_upgrade=False,
    empty_downgrade=False,
    refuses_downgrade=False,
    accepts=frozenset(),
)


def check_trips(*trips, **empty_trip):
    """Return ids, messages and lines of the rule's findings."""
    empty_trips = (EmptyTrip(revision=REVISION, before=NOTHING, **empty_trip),)
    evidence = Evidence(
        heads=("b2",), revisions=(REVISION,), empty_trips=empty_trips, seeded_trips=trips, final_schema=NOTHING
    )
    return [(result.finding.id, result.finding.message, result.place.line) for result in check(evidence)]


def trip(table, **fields):
    """Return a trip for a table of the revision."""
    return SeededTrip(revision=REVISION, table=table, filled=Filled(revision="b2", table=table, rows=9), **fields)


def test_one_reason_is_reported_once():
    """A revision that fails for the same reason on each of its tables has one finding."""
    failure = Failure(reason="column x of relation a contains null values", sqlstate="23502", line=5)
    results = check_trips(trip("public.a", upgrade_failure=failure), trip("public.b", upgrade_failure=failure))
    assert [("upgrade-fails-on-rows", 5)] == [(id_, line) for id_, _message, line in results]


def test_two_reasons_are_both_reported():
    """Two tables that are not unique for different reasons have one finding each."""
    failure = Failure(reason="could not create unique index", sqlstate="23505")
    results = check_trips(*(trip(f"public.{name}", upgrade_failure=failure, extras=3, key="(id)") for name in "ab"))
    assert ["unique-over-duplicates"] * 2 == [id_ for id_, _message, _line in results]
    assert [f"Duplicates in public.{name} stop this revision: 3 extras in 9 rows, key (id)." for name in "ab"] == [
        message for _id, message, _line in results
    ]


def test_lost_rows_are_reported_by_the_trip_of_their_table():
    """Rows that a table loses in another table's trip are reported once, by its own trip, at the downgrade."""
    results = check_trips(
        trip("public.a", row_changes={"public.a": (9, 0), "public.b": (2, 0)}),
        trip("public.b", row_changes={"public.b": (7, 1), "public.c": (1, 0)}),
    )
    assert [("rows-lost", 9)] * 3 == [(id_, line) for id_, _message, line in results]
    assert ["public.a", "public.b", "public.c"] == [
        next(table for table in ("public.a", "public.b", "public.c") if table in message)
        for _id, message, _line in results
    ]
    assert "7 rows lost, 1 new or changed" in results[1][1]


def test_a_second_upgrade_that_fails_is_reported_once():
    """A failure on empty tables is not reported again for every table with rows."""
    failure = Failure(reason="type state already exists", sqlstate="42710")
    assert 1 == len(check_trips(trip("public.a", second_upgrade_failure=failure), second_upgrade_failure=failure))


def test_a_missing_extension_has_its_own_help():
    """If an extension is not available, the help is about the server and not about the revision."""
    steps = (
        EmptyTrip(
            revision=REVISION,
            before=NOTHING,
            upgrade_failure=Failure(reason='extension "x" is missing', sqlstate="0A000"),
        ),
    )
    evidence = Evidence(heads=("b2",), revisions=(REVISION,), empty_trips=steps, seeded_trips=(), final_schema=NOTHING)
    [result] = check(evidence)
    assert "--server" in result.finding.help


def test_rows_that_another_table_gained_are_not_a_loss():
    """New rows in another table that lost none are reported as gained; in the table itself they are wrong rows."""
    results = check_trips(trip("public.a", row_changes={"public.a": (0, 2), "public.log": (0, 4), "public.z": (1, 4)}))
    assert ["rows-lost", "rows-gained", "rows-lost"] == [id_ for id_, _message, _line in results]
    assert "public.log has additional rows: 4 after" in results[1][1]
