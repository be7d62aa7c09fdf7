"""The errors of the SQL script say what to do, because whoever executes it may not have the revision at hand."""

import re
from pathlib import Path

import pytest

from dupe_audit.statements import names, template

PAGES = Path(__file__).parents[2] / "docs"
ERROR = re.compile(r"RAISE EXCEPTION '(dupe-audit: (?:[^']|'')+)'")
#: a page, or what a person does next
NEXT = re.compile(
    r"docs/|[Ee]xecute|Downgrade online|downgrade online|Let the new value|Change the table back|Rename them back|"
    r"rename them back|check its schema|restore it from"
)
#: errors whose text is composed elsewhere, and that of a fault of the script itself
OTHERS = {
    "offline_fill": "a fault of the script itself",
    "offline_objections": "the last placeholder contains the page",
    "offline_move": "caught by the procedure that calls it, or names the findings",
    "offline_refused": "each schema's own error follows",
    "offline_require": "the caller's text",
}
ERRORS = [(name, text) for name in names() if name.startswith("offline_") for text in ERROR.findall(template(name))]

NAMED = sorted({page for _, text in ERRORS for page in re.findall(r"docs/([\w/-]+\.md)", text)})


@pytest.mark.parametrize(("name", "text"), ERRORS)
def test_an_error_says_what_to_do(name, text):
    """Each error of the script names a page, or what to do next."""
    assert NEXT.search(text) or name in OTHERS, text


@pytest.mark.parametrize(
    "page", sorted({page for _, text in ERRORS for page in re.findall(r"docs/([\w/-]+\.md)", text)})
)
def test_a_page_that_an_error_names_exists(page):
    """The page that an error names is in the documentation."""
    assert (PAGES / page).is_file()


def test_exceptions_are_needed():
    """Each statement that is exempt has an error without a next step of its own."""
    assert set(OTHERS) == {name for name, text in ERRORS if not NEXT.search(text)}
