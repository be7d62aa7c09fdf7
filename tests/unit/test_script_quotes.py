"""No text of a revision can end a dollar-quoted part of the script that ``--sql`` prints."""

import io
import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.util import CommandError

import dupe_audit.ops  # noqa: F401 - registers the directives
from dupe_audit.directives import script
from dupe_audit.directives.script.quoting import check_texts, dollar_quotes

FOLDER = Path(script.__file__).parent
STATEMENTS = FOLDER.parents[1] / "statements"


def test_every_dollar_quote_of_the_script_is_known():
    """Texts may have no dollar quote that is in a statement of a script, or in the code that prints scripts."""
    sources = "\n".join(path.read_text() for path in (*STATEMENTS.glob("offline_*.sql"), *FOLDER.glob("*.py")))
    written = set(re.findall(r"\$\w+\$", sources))
    assert {"$collect$", "$hypertable$", "$server$", "$refused$", "$lag$", "$failures$", "$statement$"} <= written
    assert set() == written - dollar_quotes()


KEY = ["k"]
TEXTS = {
    "table": lambda op, text: op.archive_duplicates(text, KEY),
    "schema": lambda op, text: op.archive_duplicates("t", KEY, schema=text),
    "one of several schemas": lambda op, text: op.archive_duplicates("t", KEY, schemas=["s", text]),
    "column": lambda op, text: op.archive_duplicates("t", ["k", text]),
    "expression": lambda op, text: op.archive_duplicates("t", [sa.text(f"lower('{text}')")]),
    "predicate": lambda op, text: op.archive_duplicates("t", KEY, where=f"k <> '{text}'"),
    "order": lambda op, text: op.archive_duplicates("t", KEY, order_by=[sa.text(f"'{text}'")]),
    "ignored": lambda op, text: op.archive_duplicates("t", KEY, ignore=[text]),
    "merged column": lambda op, text: op.archive_duplicates("t", KEY, merge={text: "sum"}),
    "merging aggregate": lambda op, text: op.archive_duplicates("t", KEY, merge={"n": sa.text(f"min('{text}')")}),
    "changed column": lambda op, text: op.amend_duplicates("t", KEY, {text: 1}),
    "value": lambda op, text: op.amend_duplicates("t", KEY, {"n": text}),
    "SQL of a value": lambda op, text: op.amend_duplicates("t", KEY, {"n": sa.text(f"'{text}'")}),
    "constraint": lambda op, text: op.create_unique_constraint_online(text, "t", KEY),
    "included": lambda op, text: op.create_unique_constraint_online("u", "t", KEY, include=[text]),
    "comment": lambda op, text: op.create_unique_constraint_online("u", "t", KEY, comment=text),
    "comment of an index": lambda op, text: op.create_unique_index_online("u", "t", KEY, comment=text),
    "dropped constraint": lambda op, text: op.drop_unique_constraint_online(text, "t"),
    "restored table": lambda op, text: op.restore_duplicates(text, KEY),
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("tag", ["$attach$", "$collect$"])
def test_text_that_would_end_a_quoted_part_is_refused(kind, tag):
    """A directive with one of the script's dollar quotes in a name, an expression or a comment prints nothing."""
    printed = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": printed})
    with pytest.raises(CommandError, match=rf"contains {re.escape(tag)}, which the SQL script uses as a quote"):
        TEXTS[kind](Operations(context), f"a{tag}; x")
    assert tag not in printed.getvalue()


def test_other_dollar_quotes_are_no_problem():
    """A text with a dollar quote that the script does not use is printed, as a revision can need it."""
    check_texts("$tag$", ("$$", None, 7))
    with pytest.raises(CommandError, match="revision online"):
        check_texts("0015", ("a", ("$clean$",)))
