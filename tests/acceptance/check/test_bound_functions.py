"""Revisions whose upgrade() and downgrade() are bound in other ways than by a ``def`` of that name."""

import sys

import pytest

REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "b2"
down_revision = "a1"

def _up():
    op.add_column("orders", sa.Column("paid", sa.Boolean))

def _down():
    op.drop_column("orders", "paid")

def _broken():
    op.execute("SELECT 1")
    raise RuntimeError("broken")

def _without():
    raise NotImplementedError("nobody knows")

def _nothing():
    pass
"""


@pytest.fixture
def bound(orders):
    """Write a revision whose functions are bound by these lines, in a project that has the table."""

    def write(lines):
        (orders.versions / "b2.py").write_text(f"{REVISION}\n{lines}\n")
        return orders

    return write


@pytest.mark.parametrize(
    "lines",
    [
        "upgrade = _up\ndowngrade = _down",
        "upgrade, downgrade = _up, _down",
        "def upgrade():\n    _up()\ndowngrade = _down",
        "upgrade = _up\ndowngrade = lambda: op.drop_column('orders', 'paid')",
        "upgrade = _up\nimport functools\ndowngrade = functools.partial(op.drop_column, 'orders', 'paid')",
        "def upgrade():\n    _up()\ndef downgrade():\n    pass\ndowngrade = _down",
        "upgrade = _up\ndowngrade = _nothing\ndef downgrade():\n    _down()",
        "upgrade = _up\nif revision:\n    def downgrade():\n        _down()",
        "upgrade = downgrade = _nothing",
    ],
)
def test_a_way_back_that_is_bound_is_tried(bound, failing, lines):
    """However the name is bound, what it means is run, and a working way back is in order."""
    assert [] == failing(bound(lines).check(rows=20))


@pytest.mark.parametrize("how", ["from ways import down as downgrade", "from ways import *"])
def test_a_way_back_that_is_imported_is_tried(bound, failing, monkeypatch, how):
    """A function of another module is run as well, whether its name is imported or comes with all others."""
    project = bound(f"{how}\nupgrade = _up")
    monkeypatch.syspath_prepend(project.directory)
    monkeypatch.delitem(sys.modules, "ways", raising=False)
    (project.directory / "ways.py").write_text(
        "from alembic import op\n\ndef down():\n    op.drop_column('orders', 'paid')\n\ndowngrade = down\n"
    )
    assert [] == failing(project.check(rows=20))


@pytest.mark.parametrize(
    ("down", "found", "line"),
    [
        ("_broken", "downgrade-fails", 'raise RuntimeError("broken")'),
        ("None", "downgrade-fails", "downgrade = None"),
        ("_nothing", "downgrade-differs", "downgrade = _nothing"),
        ("_without", "irreversible", "downgrade = _without"),
    ],
)
def test_what_is_wrong_with_a_bound_way_back_is_found(bound, down, found, line):
    """A way back that fails, leaves something behind or does not exist is told, at the line that says so."""
    project = bound(f"upgrade = _up\ndowngrade = {down}")
    told = [(one.finding.id, one.place.line) for one in project.check(rows=20).findings if one.rule == "way-back"]
    lines = (project.versions / "b2.py").read_text().splitlines()
    assert [(found, next(n for n, text in enumerate(lines, 1) if text.strip() == line))] == told


def test_a_way_back_that_is_missing_is_still_missing(bound, failing):
    """A name that nothing binds is no way back."""
    assert [("no-way-back", "b2")] == failing(bound("upgrade = _up").check(rows=20))
