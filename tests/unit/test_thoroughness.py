"""`make test` leaves out what only thorough tests need, and nothing else."""

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
import os
from thoroughness import selection

def pytest_collection_modifyitems(config, items):
    items[:], left_out = selection(items, config.args, rest="REST" in os.environ)
    config.hook.pytest_deselected(items=left_out)
"""
TESTS = """
import pytest

def test_plain():
    pass

@pytest.mark.thorough
def test_long():
    pass

@pytest.mark.parametrize("case", ["a", "b[1]", "c"])
@pytest.mark.representatives("a", "b[1]")
def test_many(case):
    pass
"""


@pytest.fixture
def run(pytester):
    """Run these tests in this process."""
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nmarkers =\n  thorough\n  representatives\n")

    def start(text, *arguments):
        return pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", *arguments, str(pytester.makepyfile(test_it=text))
        )

    return start


def test_thorough_tests_and_further_cases_are_left_out(run):
    """A test with the marker, and the cases that its representatives do not name, do not run."""
    run(TESTS).assert_outcomes(passed=3, deselected=2)


@pytest.mark.parametrize(("name", "cases"), [("test_many", 3), ("test_many[c]", 1), ("test_long", 1)])
def test_named_tests_run_with_every_case(pytester, run, name, cases):
    """What the command line names runs."""
    pytester.makeconftest(CONFTEST)
    run(TESTS)
    pytester.runpytest_inprocess(f"test_it.py::{name}").assert_outcomes(passed=cases)


def test_beginning_of_an_id_names_every_case_that_begins_so(run):
    """A representative with a star stands for all cases whose ids begin with it, and for at least one."""
    run(TESTS.replace('("a", "b[1]")', '("b*")')).assert_outcomes(passed=2, deselected=3)
    done = run(TESTS.replace('("a", "b[1]")', '("a", "d*")'))
    assert (
        "representatives that are no cases: {'test_it.py::test_many': {'d*'}}" in done.stdout.str() + done.stderr.str()
    )


def test_rest_is_what_is_left_out(run, monkeypatch):
    """What runs only with `make test-all` can run by itself, without what `make test` has run already."""
    monkeypatch.setenv("REST", "1")
    run(TESTS).assert_outcomes(passed=2, deselected=3)


def test_representative_that_does_not_exist_is_an_error(run):
    """A renamed case cannot leave a test without its representative."""
    done = run(TESTS.replace('("a", "b[1]")', '("a", "d")'))
    assert done.ret != 0
    assert (
        "representatives that are no cases: {'test_it.py::test_many': {'d'}}" in done.stdout.str() + done.stderr.str()
    )
