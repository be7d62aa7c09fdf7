"""Batches start small, grow towards 200 ms, shrink at once, and never exceed the batch size."""

from random import Random

import pytest

from dupe_audit.cleanup.pace import FIRST, GROWTH, TARGET, Pace


def test_first_batch_is_small():
    """The first batch takes few rows, and no more than the batch size."""
    assert (FIRST, 3) == (Pace(5000).size, Pace(3).size)


def test_fast_batches_grow_up_to_the_batch_size():
    """After fast batches the size grows, by a limited factor each time, and ends at the batch size."""
    pace, sizes = Pace(5000), []
    for _ in range(5):
        pace.measure(pace.size, 0.001)
        sizes.append(pace.size)
    assert [FIRST * GROWTH, FIRST * GROWTH**2, FIRST * GROWTH**3, 5000, 5000] == sizes


@pytest.mark.parametrize("cost", [0.0001, 0.001, 0.01, 0.09])
def test_steady_cost_never_exceeds_the_target(cost):
    """If each row costs the same, no batch after the first one takes longer than the target."""
    pace = Pace(5000)
    for _ in range(10):
        pace.measure(pace.size, pace.size * cost)
        assert pace.size == 1 or pace.size * cost <= TARGET
    assert pace.size + 1 > 0.5 * TARGET / cost


@pytest.mark.parametrize("fixed", [0.15, 0.45, 3.0])
def test_time_that_does_not_depend_on_the_rows_is_no_reason_to_shrink(fixed):
    """If a commit waits for a distant standby, batches grow in spite of it, and their rows stay within the target."""
    pace, cost = Pace(5000), 0.0001
    for _ in range(16):
        assert pace.size * cost <= TARGET
        pace.measure(pace.size, fixed + pace.size * cost)
    assert pace.size > 500


@pytest.mark.parametrize("fixed", [0.15, 0.45, 1.0])
def test_time_that_varies_is_no_reason_to_shrink(fixed):
    """If a distant client or a busy machine makes batches slow, and none like the other, they grow all the same."""
    pace, random, rows = Pace(5000), Random(1), 0  # noqa: S311 - the same times in each test
    for _ in range(100):
        rows += pace.size
        pace.measure(pace.size, (fixed + pace.size * 0.0001) * random.lognormvariate(0, 0.15))
    assert rows > 10_000


def test_rows_whose_cost_varies_stay_few():
    """If each row costs half a second, more or less, most batches take a single row, and none more than four."""
    pace, random, sizes = Pace(5000), Random(1), []  # noqa: S311 - the same times in each test
    for _ in range(200):
        sizes.append(pace.size)
        pace.measure(pace.size, pace.size * 0.5 * random.lognormvariate(0, 0.3))
    assert max(sizes) <= 4
    assert sizes.count(1) > 100


def test_a_cost_per_row_that_appears_late_shrinks_at_once():
    """If rows become expensive after a fast start, the next batch is small again, and stays small."""
    pace = Pace(5000)
    for _ in range(6):
        pace.measure(pace.size, 0.01 + pace.size * 0.00001)
    assert 5000 == pace.size
    for _ in range(4):
        pace.measure(pace.size, 0.01 + pace.size * 0.05)
    assert 1 <= pace.size <= 4


def test_slow_batch_shrinks_the_next_one_at_once():
    """One slow batch is enough to shrink the next; a single row is the least."""
    pace = Pace(5000)
    pace.size = 5000
    pace.measure(5000, 10.0)
    assert 80 == pace.size
    pace.measure(80, 1000.0)
    assert 1 == pace.size


def test_small_last_batch_changes_nothing():
    """The few rows at the end of a pass neither shrink nor grow the batches of the next pass."""
    pace = Pace(5000)
    pace.size = 3000
    pace.measure(2, 0.01)
    assert 3000 == pace.size


def test_failed_batch_is_halved():
    """A batch that others disturbed is tried again with half of its rows, down to one."""
    pace = Pace(5000)
    sizes = []
    for rows in (9, 4, 2, 1):
        pace.halve(rows)
        sizes.append(pace.size)
    assert [4, 2, 1, 1] == sizes
