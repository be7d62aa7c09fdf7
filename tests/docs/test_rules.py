"""A rule of the check is one file and one page, and both name the same findings."""

import re
from pathlib import Path

import pytest

from dupe_audit.findings import CHECK

ROOT = Path(__file__).parents[2]
SOURCES = {
    path.stem.replace("_", "-"): path
    for path in (ROOT / "src" / "dupe_audit" / "checks" / "rules").glob("*.py")
    if path.stem != "__init__"
}
PAGES = {path.stem: path for path in (ROOT / "docs" / "reference" / "rules").glob("*.md") if path.stem != "index"}
INDEX = (ROOT / "docs" / "reference" / "rules" / "index.md").read_text()


def linked(text: str) -> set[str]:
    """Return the findings that a page links to, each under its own name."""
    return set(re.findall(r"\[([\w-]+)\]\(\.\./findings/\1\.md\)", text))


def made(source: Path) -> set[str]:
    """Return the findings that a rule's file names."""
    return set(re.findall(r'"([a-z][a-z-]+)"', source.read_text())) & CHECK.keys()


@pytest.mark.parametrize("rule", sorted(SOURCES.keys() | PAGES.keys()))
def test_a_rule_is_one_file_and_one_page(rule):
    """A rule has a page with its problem and solution that links each finding it can make, and a page has its rule."""
    assert rule in SOURCES, "a page without a rule"
    assert rule in PAGES, "a rule without a page"
    page = PAGES[rule].read_text()
    assert [rule, "Problem", "Solution"] == re.findall(r"^##? (.+)$", page, flags=re.MULTILINE)[:3]
    assert made(SOURCES[rule]) != set()
    assert made(SOURCES[rule]) - linked(page) == set()


def test_the_table_of_rules_is_complete():
    """The table of rules has each one, once, with the findings that it can make, and the findings are all of them."""
    rows = re.findall(r"^\| \[([\w-]+)\]\(\1\.md\) \|(.*)", INDEX, flags=re.MULTILINE)
    assert sorted(SOURCES) == sorted(rule for rule, _ in rows)
    assert {rule: made(SOURCES[rule]) for rule in SOURCES} == {rule: linked(row) for rule, row in rows}
    assert list(CHECK) == re.findall(r"\.\./findings/([\w-]+)\.md", "".join(row for _, row in rows))


@pytest.mark.parametrize("id_", sorted(CHECK))
def test_a_finding_of_the_check_names_its_rule(id_):
    """The page of a finding of the check says so, and links the rule that makes it."""
    page = (ROOT / "docs" / "reference" / "findings" / f"{id_}.md").read_text()
    assert page.splitlines()[3].startswith("Reported by: check")
    (rule,) = [name for name, source in SOURCES.items() if id_ in made(source)]
    assert f"../rules/{rule}.md" in page
