"""Revisions that bind upgrade() and downgrade() in other ways than with a ``def`` of that name."""

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
    """Write a revision that binds its functions with these lines, into a project that has the table."""

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
@pytest.mark.representatives("upgrade, downgrade = _up, _down")
def test_a_way_back_that_is_bound_is_tried(bound, failing, lines):
    """However the name is bound, its function is called, and a working downgrade is no finding."""
    assert [] == failing(bound(lines).check(rows=20))


@pytest.mark.parametrize("import_", ["from ways import down as downgrade", "from ways import *"])
@pytest.mark.representatives("from ways import *")
def test_a_way_back_that_is_imported_is_tried(bound, failing, monkeypatch, import_):
    """A function of another module is called too, with a named import or a star import."""
    project = bound(f"{import_}\nupgrade = _up")
    monkeypatch.syspath_prepend(project.directory)
    monkeypatch.delitem(sys.modules, "ways", raising=False)
    (project.directory / "ways.py").write_text(
        "from alembic import op\n\ndef down():\n    op.drop_column('orders', 'paid')\n\ndowngrade = down\n"
    )
    assert [] == failing(project.check(rows=20))


@pytest.mark.parametrize(
    ("down", "finding", "line"),
    [
        ("_broken", "downgrade-fails", 'raise RuntimeError("broken")'),
        ("None", "downgrade-fails", "downgrade = None"),
        ("_nothing", "downgrade-differs", "downgrade = _nothing"),
        ("_without", "irreversible", "downgrade = _without"),
    ],
)
@pytest.mark.representatives("_broken-downgrade-fails*")
def test_what_is_wrong_with_a_bound_way_back_is_found(bound, down, finding, line):
    """A downgrade that fails, leaves something behind or does not exist is reported at the line that binds it."""
    project = bound(f"upgrade = _up\ndowngrade = {down}")
    reported = [
        (result.finding.id, result.place.line)
        for result in project.check(rows=20).findings
        if result.rule == "way-back"
    ]
    lines = (project.versions / "b2.py").read_text().splitlines()
    assert [(finding, next(n for n, text in enumerate(lines, 1) if text.strip() == line))] == reported


def test_a_way_back_that_is_missing_is_still_missing(bound, failing):
    """A name that nothing binds is not a downgrade."""
    assert [("no-way-back", "b2")] == failing(bound("upgrade = _up").check(rows=20))
