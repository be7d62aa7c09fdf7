"""Each rule of the check is one file and one page, and both name the same findings."""

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


def linked_findings(text: str) -> set[str]:
    """Return the findings that a page links to, each under its own name."""
    return set(re.findall(r"\[([\w-]+)\]\(\.\./findings/\1\.md\)", text))


def findings_in(source: Path) -> set[str]:
    """Return the findings that a rule's file names."""
    return set(re.findall(r'"([a-z][a-z-]+)"', source.read_text())) & CHECK.keys()


@pytest.mark.parametrize("rule", sorted(SOURCES.keys() | PAGES.keys()))
def test_a_rule_is_one_file_and_one_page(rule):
    """Each rule has a page with a problem and a solution that links all its findings, and each page has a rule."""
    assert rule in SOURCES, "a page without a rule"
    assert rule in PAGES, "a rule without a page"
    page = PAGES[rule].read_text()
    assert [rule, "Problem", "Solution"] == re.findall(r"^##? (.+)$", page, flags=re.MULTILINE)[:3]
    assert findings_in(SOURCES[rule]) != set()
    assert findings_in(SOURCES[rule]) - linked_findings(page) == set()


def test_the_table_of_rules_is_complete():
    """The table has each rule once with its findings, and these are all findings of the check."""
    rows = re.findall(r"^\| \[([\w-]+)\]\(\1\.md\) \|(.*)", INDEX, flags=re.MULTILINE)
    assert sorted(SOURCES) == sorted(rule for rule, _ in rows)
    assert {rule: findings_in(SOURCES[rule]) for rule in SOURCES} == {rule: linked_findings(row) for rule, row in rows}
    assert list(CHECK) == re.findall(r"\.\./findings/([\w-]+)\.md", "".join(row for _, row in rows))


@pytest.mark.parametrize("id_", sorted(CHECK))
def test_a_finding_of_the_check_names_its_rule(id_):
    """The page of a finding says that the check reports it, and links the rule that does."""
    page = (ROOT / "docs" / "reference" / "findings" / f"{id_}.md").read_text()
    assert page.splitlines()[3].startswith("Reported by: check")
    (rule,) = [name for name, source in SOURCES.items() if id_ in findings_in(source)]
    assert f"../rules/{rule}.md" in page
