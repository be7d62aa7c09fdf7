"""Comments that accept findings."""

import pytest

from dupe_audit.findings import accepted


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("# dupe-audit: accept rows-lost", {"rows-lost"}),
        ("x = 1  #dupe-audit:accept rows-lost, no-way-back - they were test data", {"rows-lost", "no-way-back"}),
        ("-- dupe-audit: accept insert-may-raise\nINSERT", {"insert-may-raise"}),
        ("# dupe-audit: accept a\n# dupe-audit: accept b,c", {"a", "b", "c"}),
        ("# dupe-audit: accepted rows-lost", set()),
        ('"dupe-audit: accept rows-lost"', set()),
    ],
)
def test_a_comment_accepts_what_it_names(text, ids):
    """The ids after the word are accepted, from all comments together; text after them is not an id."""
    assert ids == accepted(text)
