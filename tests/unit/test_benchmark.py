"""What `make bench` computes of its measurements."""

from dataclasses import replace
from pathlib import Path

import pytest

from dupe_audit.statements import statement
from migration import figures, plot, report, steps, writers
from migration.queries import BARE_QUERIES, PREFLIGHT, WITH_INDEXES, rotated
from migration.results import BenchmarkError, Machine, Results, Run, Size, join, load
from migration.table import GroupedRow

STATEMENTS = Path(statement.__globals__["__file__"]).parent
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "costs.md"
MACHINE = Machine(software="0.1.0", server="18.6", cores=2, fsync=True, seed=1)


def run(way, repetition=0, wall=2.0, *, own=(1.0, 2.0), grouped=(3.0,)):
    return Run(
        way=way,
        repetition=repetition,
        wall=wall,
        steps={"build": wall / 2, "other": wall / 2},
        statements={"build_index": wall / 2},
        waits={"own": list(own), "grouped": list(grouped), "repeated": []},
        wal=1_000_000,
        temp=0,
        memory=60_000_000,
    )


def results(*runs, rows=1000, queries=(), restores=()):
    size = Size(rows, rows // 20, list(runs), list(queries), list(restores))
    return Results(MACHINE, "2026-11-27", 0.5, [size])


def test_a_ratio_compares_runs_of_the_same_repetition():
    """The median of the ratios is shown, not a ratio of medians, and a repetition without a pair does not count."""
    walls = {"b": (1.0, 10.0, 2.0), "c": (2.0, 10.0, 6.0)}
    runs = [run(way, number, wall) for way, seconds in walls.items() for number, wall in enumerate(seconds)]
    size = results(*runs, run("c", 3, 50.0)).sizes[0]
    assert figures.ratios(size, "c", "b", lambda measured: measured.wall) == figures.Spread(2.0, 1.0, 3.0)
    assert figures.ratios(size, "c", "a", lambda measured: measured.wall) is None


def test_a_percentile_is_a_wait_that_was_measured():
    """A percentile is never lower than the stated share of the waits, and the highest is the longest wait."""
    waits = [float(n) for n in range(1, 1001)]
    assert [figures.percentile(waits, share) for share in (0.5, 0.99, 0.999, 1)] == [500, 990, 999, 1000]
    assert figures.percentile([7.0], 0.5) == 7


def test_shown_steps_are_those_of_the_median_run():
    """The steps add up to the median of the measured wall times."""
    size = results(run("c", 0, 9.0), run("c", 1, 3.0), run("c", 2, 5.0)).sizes[0]
    assert figures.typical(size, "c").wall == 5.0
    assert "| build the index | 2.50 |\n" in report.sections(Results(MACHINE, "", 0, [size]))["steps"]


def test_the_longest_wait_can_be_that_of_some_writers():
    """The longest wait on extras and survivors is shown beside the longest of all."""
    measured = run("c", own=(1.0, 80.0), grouped=(3.0, 40.0))
    assert (measured.longest(), measured.longest("grouped"), measured.longest("repeated")) == (80, 40, 0)
    assert "| 1,000 | (c) this | 3.0 | 80 | 80 | 80 | 40 |\n" in report.markdown(results(measured))


def test_preflight_is_compared_with_the_fastest_query_that_uses_no_index():
    """A query that may use an index is shown, but preflight is never compared with it."""
    seconds = dict.fromkeys(BARE_QUERIES, 2.0) | {WITH_INDEXES: 0.1, PREFLIGHT: 3.0, "cheapest first": 1.5}
    sections = report.sections(results(queries=[seconds]))
    assert sections["preflight"].endswith("| 1,000 | 3.00 | 1.50 | 2.00 | cheapest first |\n")
    assert "| with indexes, which preflight must not trust | 0.10 | 30.00 times as long |" in sections["queries"]


def test_each_way_is_in_each_place_equally_often():
    """In as many repetitions as there are ways, each way takes each place in the order once."""
    orders = [rotated(["a", "b", "c"], repetition) for repetition in range(3)]
    assert sorted(zip(*orders, strict=True)) == [("a", "b", "c"), ("b", "c", "a"), ("c", "a", "b")]


def test_steps_add_up_to_the_wall_time():
    """Time outside statements, and statements of no step, count as everything else."""
    seconds = {"stage": 2.0, "lock_rows": 1.0, "COMMIT": 0.5, "relation": 0.25}
    assert steps.by_step(seconds, 5.0) == {"rank": 2.0, "lock": 1.0, "commit": 0.5, "other": 1.5}


def test_statements_are_recognised_by_their_files():
    """A statement is recognised by its text, whatever fills its holes; others are named by their first word."""
    holes = {"t_source_by_key": "public.t", "t_countable": "true", "t_can_repeat": "true", "partition_by": "k"}
    ranking = statement("count_extras", **holes)
    executed = [(ranking, 1.0), ("COMMIT", 0.5), ("COMMIT", 0.25)]
    assert steps.by_name(executed) == {"count_extras": 1.0, "COMMIT": 0.75}


def test_every_statement_of_a_step_exists():
    """No step loses a statement unnoticed when its file is renamed."""
    names = [name for names in steps.STATEMENTS.values() for name in names]
    assert [name for name in names if not (STATEMENTS / f"{name}.sql").exists()] == []
    assert figures.STEPS.keys() == set(steps.STEPS)


def test_writers_share_no_row_that_they_change():
    """Each writer that changes extras and survivors has its own rows, and together they have all."""
    rows = [GroupedRow(str(n), (str(n),)) for n in range(5)]
    shares = dict(enumerate(writers.shares(rows)))
    changing = [share for number, share in shares.items() if writers.PROFILES[number] == "grouped"]
    assert sorted(row.id for share in changing for row in share) == ["0", "1", "2", "3", "4"]
    assert {len(share) for number, share in shares.items() if writers.PROFILES[number] == "own"} == {0}


def test_results_survive_their_file(tmp_path):
    """Results that are read from their file equal those that were written."""
    written = results(run("b"), run("c"), queries=[{PREFLIGHT: 1.0}], restores=[{"cleanup": 1.0, "restore": 0.5}])
    written.save(tmp_path / "results.json")
    assert load(tmp_path / "results.json") == written


def test_sets_of_the_same_machine_are_joined():
    """Sets measured at different times are one, with pairs of the same set only; different machines are refused."""
    first, second = results(run("b", wall=1.0), run("c", wall=2.0)), results(run("b", wall=4.0), run("c", wall=4.0))
    joined = join([first, second])
    assert [size.rows for size in joined.sizes] == [1000]
    assert figures.ratios(joined.sizes[0], "c", "b", lambda measured: measured.wall) == figures.Spread(1.5, 1.0, 2.0)
    with pytest.raises(BenchmarkError, match="cannot be compared"):
        join([first, replace(second, machine=replace(MACHINE, fsync=False))])


def test_figures_replace_those_of_the_page():
    """A section of the page is replaced where there are figures for it, and stays otherwise."""
    page = "<!-- make bench: ways -->\nold\n<!-- end -->\ntext\n<!-- make bench: restore -->\nold\n<!-- end -->\n"
    text = report.replaced(page, results(run("c")), pictures=False)
    assert "| 1,000 | (c) this | 2.00 | 1 | 0 |\n<!-- end -->\ntext\n<!-- make bench: restore -->\nold\n" in text
    assert report.replaced(text, results(run("c")), pictures=False) == text


def test_the_page_has_every_section():
    """Every table and picture has its place on the page of costs."""
    seconds = dict.fromkeys([*BARE_QUERIES, PREFLIGHT], 1.0)
    everything = results(run("b"), run("c"), queries=[seconds], restores=[{"cleanup": 1.0, "restore": 1.0}])
    page = PAGE.read_text()
    names = [*report.sections(everything), "pictures"]
    assert [name for name in names if page.count(f"<!-- make bench: {name} -->\n") != 1] == []


@pytest.mark.thorough
def test_the_same_results_give_the_same_pictures(tmp_path):
    """Drawing twice changes no byte, so that a changed picture means changed figures."""
    measured = results(run("b"), run("c", wall=3.0, own=[float(n) for n in range(1, 3000)]))
    drawn = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        drawn.append([path.read_bytes() for path in plot.draw(measured, tmp_path / name)])
    assert drawn[0] == drawn[1]
    assert b"build the index" in drawn[0][0]
    assert b"(c) this" in drawn[0][1]
