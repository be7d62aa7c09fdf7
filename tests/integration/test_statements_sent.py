"""`make statements` prints exactly what the steps send, and PostgreSQL's own parser accepts it."""

import re
from collections.abc import Iterator

import pglast
import pytest
from sqlalchemy import make_url

from dupe_audit.constraint import window
from statements import HOLE, NAMES, STEPS, Recorder, Statement, record

#: a template inside a script, whose holes the script fills when it is executed
QUOTED = re.compile(r"\$statement\$.*?\$statement\$", re.DOTALL)


@pytest.fixture(scope="module")
def recorder(server_url, administrator, template) -> Iterator[Recorder]:
    """Execute every step once, on a database of its own."""
    name = f"{template}_statements"
    administrator.copy(template, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "HELD_IDLE_LIMIT", "1min")  # a busy machine takes longer than this limit
        recorded = record(make_url(server_url).set(database=name).render_as_string(hide_password=False))
    yield recorded
    administrator.drop(name)


def problem(statement: Statement) -> str | None:
    """Return why a printed statement could not be sent, or None if it could."""
    if holes := HOLE.findall(QUOTED.sub("", statement.text)):
        return f"{statement.name}: unfilled {holes}"
    try:
        parsed = pglast.parse_sql(str(statement))
    except pglast.parser.ParseError as error:
        return f"{statement.name}: {error}"
    return None if len(parsed) == 1 else f"{statement.name}: {len(parsed)} statements"


def test_every_statement_is_printed_as_it_is_sent(recorder):
    """Each file is printed once, as the complete statement that was executed, and PostgreSQL's parser accepts it."""
    printed = recorder.statements()
    assert sorted(statement.name for statement in printed) == NAMES
    assert [problem(statement) for statement in printed if problem(statement)] == []
    steps = STEPS[: STEPS.index("writer")]
    sent = "\n".join(recorder.sent)
    assert [s.name for s in printed if s.reached and s.step in steps and s.text not in sent] == []
    assert all(statement.header.startswith("-- Purpose: ") for statement in printed)


def test_every_text_is_ascii_except_for_names(recorder):
    """Nothing that the steps send or the script contains needs an encoding, as long as the user's names do not."""
    assert [text for text in recorder.sent if not text.isascii()] == []
    assert [s.name for s in recorder.statements() if not s.text.isascii()] == []
