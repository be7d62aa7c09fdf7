"""The page of hard cases names only tests that exist, and each number in a test's name is a case of the page."""

import re
from pathlib import Path

import pytest

from dupe_audit.findings import CATALOGUE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "hard-cases.md").read_text()
ROWS = {
    int(number): (case, done, guard)
    for number, case, done, guard in re.findall(
        r"^\| H(\d+) \| (\S.*?) \| (\S.*?) \| (\S.*?) \|$", PAGE, flags=re.MULTILINE
    )
}
# Not parsed, because every process of a run imports this file.
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)\(", path.read_text(), flags=re.MULTILINE)
}
TEST = r"`(test_\w+)`"
FINDING = r"\[(?P<finding>[\w-]+)\]\(\.\./reference/findings/(?P=finding)\.md\)"
OUT_OF_SCOPE = "out of scope: "


def required() -> set[int]:
    """Return the numbers that the page must have, which it lists as 1, 3-5."""
    listed = PAGE.split("## Completeness\n")[1].split(":\n")[1].split(".\n")[0]
    bounds = [[int(number) for number in part.split("-")] for part in listed.split(", ")]
    return {number for first, *last in bounds for number in range(first, (last or [first])[0] + 1)}


def test_every_case_has_one_row():
    """Each case that the page must have has a row, and no row is duplicated or malformed."""
    assert 130 < len(required())
    assert set() == required() - ROWS.keys()
    assert len(ROWS) == len(re.findall(r"^\| H", PAGE, flags=re.MULTILINE))


@pytest.mark.parametrize("number", sorted(ROWS))
def test_every_row_is_guarded(number):
    """Each row names tests and findings that exist, or says why the case is out of scope."""
    guard = ROWS[number][2]
    if guard.startswith(OUT_OF_SCOPE):
        assert len(guard) > len(OUT_OF_SCOPE) + 10
        return
    assert "" == re.sub(rf"{TEST}|{FINDING}|, ", "", guard)
    assert [] == [name for name in re.findall(TEST, guard) if name not in TESTS]
    assert [] == [name for name in re.findall(FINDING, guard) if name not in CATALOGUE]


def test_every_case_of_a_test_has_a_row():
    """Each number in a test's name is a case of the page."""
    numbers = {int(number): name for name in TESTS for number in re.findall(r"_h(\d+)(?=_|$)", name)}
    assert 60 < len(numbers)
    assert {} == {name: number for number, name in numbers.items() if number not in ROWS}


def test_every_row_names_the_tests_of_its_case():
    """Each row names every test that carries its number."""
    missing = {
        f"H{number}": sorted(unnamed)
        for number, (_case, _done, guard) in ROWS.items()
        if (
            unnamed := {name for name in TESTS if re.search(rf"_h{number}(?=_|$)", name)} - set(re.findall(TEST, guard))
        )
    }
    assert {} == missing
