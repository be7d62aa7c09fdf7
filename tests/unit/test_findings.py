"""The catalogue of findings: its ids as mypy checks them, where they are defined, and how numbers are printed."""

import re
from typing import get_args

import pytest

from dupe_audit.findings import (
    CATALOGUE,
    CHECK,
    STEPS,
    CheckId,
    FindingId,
    StepId,
    duplicates,
    finding_id,
    indexes,
    missing_column,
    outcome,
    project,
    quantity,
    session,
    surroundings,
    table,
    trees,
    without_passwords,
)
from dupe_audit.statements import template


def test_the_ids_that_mypy_checks_are_those_of_the_catalogue():
    """Each id of the Literal types has its entry, in the same order, and no entry has another id."""
    assert list(STEPS) == list(get_args(StepId))
    assert list(CHECK) == list(get_args(CheckId))
    assert sorted(CATALOGUE) == sorted(get_args(FindingId))


def test_each_finding_is_in_one_module():
    """No module replaces the finding of another one when they are joined."""
    parts = (
        table.TABLE,
        trees.TREES,
        session.SESSION,
        surroundings.SURROUNDINGS,
        duplicates.DUPLICATES,
        indexes.INDEXES,
        project.PROJECT,
        outcome.OUTCOME,
        CHECK,
    )
    assert len(CATALOGUE) == sum(len(part) for part in parts)


def test_the_ids_in_sql_are_ids_of_findings():
    """Each branch of blockers.sql and tree_blockers.sql returns an id that the catalogue has."""
    text = template("blockers") + template("tree_blockers")
    ids = re.findall(r"(?:SELECT(?: DISTINCT)?|THEN|ELSE) '([a-z]+(?:-[a-z]+)+)'", text)
    assert len(ids) > 30
    assert ids == [finding_id(id_) for id_ in ids]


def test_a_mistyped_column_is_reported_with_those_of_a_similar_name():
    """The help begins with the column that was probably meant, and with nothing if no column is similar."""
    names = {"updated_at", "created_at", "status"}
    meant = missing_column("updated", names, table="public.orders")
    assert "public.orders has no column 'updated'." == meant.message
    assert meant.help.startswith("Did you mean 'updated_at'? Check the column names")
    assert missing_column("qty", names, table="public.orders").help.startswith("Check the column names")


def test_an_id_that_no_finding_has_is_refused():
    """A misspelt id in SQL is an error and never becomes a finding without a page."""
    with pytest.raises(KeyError, match="delete-triger"):
        finding_id("delete-triger")


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ((0, "row"), "0 rows"),
        ((1, "row"), "1 row"),
        ((1204, "row"), "1,204 rows"),
        ((1, "child", "children"), "1 child"),
        ((3, "child", "children"), "3 children"),
    ],
)
def test_quantities_have_separators_and_the_right_noun(arguments, printed):
    """A message says 1 row and 1,204 rows."""
    assert printed == quantity(*arguments)


@pytest.mark.parametrize("id_", CATALOGUE)
def test_every_text_can_be_filled(id_):
    """Message and help are sentences with no other holes than the subject and the table."""
    entry = CATALOGUE[id_]
    for text in (entry.message, entry.help):
        assert "{" not in text.format(subject="a", table="b")
    assert entry.message.endswith(".")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("postgresql://u:p%40ss@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:a@b%40c@h/d", "postgresql://u:***@h/d"),
        ("host=h user=u password=s%3cret dbname=d", "host=h user=u password=*** dbname=d"),
        ("'postgresql://h/d?user=u&password=s%40x&x=1'", "'postgresql://h/d?user=u&password=***&x=1'"),
        ("no secret: at 12:30@home", "no secret: at 12:30@home"),
    ],
)
def test_passwords_are_masked(text, printed):
    """A password in a text that env.py raised, in a URL or a libpq string, is never printed."""
    assert printed == without_passwords(text)
