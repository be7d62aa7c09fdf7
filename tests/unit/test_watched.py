"""The state of a run as watch prints it."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from dupe_audit.watch import render as render_watch
from dupe_audit.watch.facts import Activity, Blocker, Progress, RunSummary, View
from dupe_audit.watch.look import Memory

RUN = RunSummary(
    id=7,
    columns=("customer_id", "placed_at"),
    constraint="unique_order",
    state="cleaning",
    revision="2f1c8a",
    extras=100,
    archived=25,
    amended=0,
    merged=0,
    reverted=0,
    outcome="archived",
    restored=0,
    purged=False,
    started_at="2026-01-01 00:00:00+00",
    finished_at=None,
)
BLOCKER = Blocker(pid=4711, name="report", state="idle in transaction", seconds=95.2, lock="AccessShareLock")
ACTIVITY = Activity(
    schema="public",
    table="orders",
    run=RUN,
    phase="cleaning",
    progress=Progress(done=25, total=100, unit="extras", rate=5.0),
    pid=4700,
    waiting=True,
    blockers=(BLOCKER,),
)


def drawn(view: View) -> str:
    """Return the live view as text."""
    page = io.StringIO()
    Console(file=page, width=140).print(render_watch.live(view))
    return page.getvalue()


def test_a_line_has_all_facts():
    """One line has the run, the table, the phase, the figures, the time left, and the blockers."""
    assert (
        "run 7 public.orders: cleaning; 25 of 100 extras archived, 5 per second, about 15 s left in this phase; "
        "waiting for pid 4711 (report, idle in transaction, open for 95 s, AccessShareLock)"
    ) == render_watch.line(ACTIVITY)


@pytest.mark.parametrize(
    ("outcome", "counts", "working", "resting"),
    [
        (
            "amended",
            {"archived": 0, "amended": 25},
            "25 of 100 extras amended",
            "clean, without a constraint; 25 rows amended",
        ),
        (
            "archived or amended",
            {"archived": 5, "amended": 20},
            "25 of 100 extras archived or amended",
            "clean, without a constraint; 5 rows archived, 20 amended",
        ),
        (
            "archived",
            {"archived": 25, "merged": 4},
            "25 of 100 extras archived",
            "clean, without a constraint; 25 rows archived, 4 merged",
        ),
    ],
)
def test_what_becomes_of_the_extras(outcome, counts, working, resting):
    """A run that changes rows is not described as one that archives them, at work, stalled or ended."""
    run = replace(RUN, outcome=outcome, **counts)
    assert working in render_watch.line(replace(ACTIVITY, run=run))
    stalled = Activity(schema="public", table="orders", run=run, stalled=True)
    assert f"(cleaning; {working})" in render_watch.line(stalled)
    ended = Activity(schema="public", table="orders", run=replace(run, state="clean"))
    assert render_watch.line(ended) == f"run 7 public.orders: {resting}"
    restoring = replace(ACTIVITY, run=run, phase="restoring", progress=Progress(done=1, total=25, unit="rows"))
    back = "1 of 25 rows restored" if outcome == "archived" else "1 of 25 rows restored or changed back"
    assert back in render_watch.line(restoring)


def test_the_live_view_has_the_same_facts():
    """A terminal gets the same facts, with a bar and a percentage."""
    page = drawn(View(at="2026-01-01 10:20:30+00", ledger=True, working=(ACTIVITY,)))
    for part in ("run 7, public.orders (customer_id, placed_at)", "cleaning", "25 %", "━", "pid 4711", "10:20:30"):
        assert part in page


@pytest.mark.parametrize("draw", [drawn, lambda view: "".join(render_watch.lines(view))])
def test_a_name_cannot_control_the_terminal(draw):
    """An application's name cannot control the terminal through escape sequences or markup."""
    hostile = Blocker(pid=1, name="\x1b[2J[bold]x", state="active", seconds=None)
    activity = Activity(schema="s", table="t", phase="building", waiting=True, blockers=(hostile,))
    page = draw(View(at="2026-01-01 10:20:30+00", ledger=True, working=(activity,)))
    assert "\x1b" not in page
    assert "[bold]x" in page


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "1 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds, text):
    """Durations are printed in seconds, or in the two largest units."""
    assert text == render_watch.duration(seconds)


@pytest.mark.parametrize(
    ("progress", "eta"),
    [
        (Progress(), None),
        (Progress(done=1, total=2, unit="extras"), None),
        (Progress(done=1, total=2, unit="transactions", rate=1.0), None),
        (Progress(done=10, total=40, unit="blocks", rate=10.0), 3.0),
        (Progress(done=5, total=4, unit="rows", rate=1.0), 0.0),
    ],
)
def test_no_time_left_is_shown_without_a_speed(progress, eta):
    """The time left is derived from the current speed, and is unknown without one."""
    assert eta == progress.eta


def test_the_speed_of_a_build_is_that_of_the_last_minute():
    """The speed is measured per phase from the oldest look in memory, and a new build starts from zero."""
    memory, step = Memory(seconds=60), "building index: scanning table"

    def rate(done, now, step=step):
        return memory.rate(1, Progress(step=step, done=done), now)

    assert [None, 10.0, 10.0] == [rate(0, 0.0), rate(100, 10.0), rate(500, 50.0)]
    assert 42.0 == rate(2600, 100.0)  # 2,100 in the 50 s since the oldest look of the last minute
    assert rate(5, 101.0) is None
    assert rate(7, 101.0, "index validation: scanning table") is None
