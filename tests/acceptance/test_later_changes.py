"""A later directive whose new values cannot be written stops its revision before the first directive acts."""

from pathlib import Path

import pytest

from alembic_project import Project
from conftest import Sql
from launch import Launcher

ROWS = """
CREATE TABLE first (id int PRIMARY KEY, k int); INSERT INTO first VALUES (1, 1), (2, 1);
CREATE TABLE city (id int PRIMARY KEY, name varchar(5) NOT NULL, people int CHECK (people < 6));
INSERT INTO city VALUES (1, 'Rome', 3), (2, 'Rome', 4), (3, 'Rome', 3), (4, 'Rome2', 1)
"""
LATER = {
    "too long": (
        'op.amend_duplicates("city", ["name"], {"name": sa.text("name || \'-new\'")})',
        "change-fails",
        "2 extras",
    ),
    "null": ('op.amend_duplicates("city", ["name"], {"name": None})', "change-fails", "2 extras: column name"),
    "incomplete": ('op.amend_duplicates("city", ["name"], {"people": 1})', "amendment-incomplete", "2 extras"),
    "settles never": ('op.amend_duplicates("city", ["name"], {"name": "Rome2"})', "amendment-incomplete", "2 extras"),
    "divided": (
        'op.archive_duplicates("city", ["name"], divergent="amend", set_={"name": None})',
        "change-fails",
        "1 extra: column name",
    ),
    "merge": ('op.archive_duplicates("city", ["name"], merge={"people": "sum"})', "change-fails", "1 group"),
}


@pytest.mark.parametrize("case", LATER)
@pytest.mark.representatives("too long", "settles never", "merge")
def test_later_change_is_tried_before_the_first_directive_acts(
    tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql, case: str
) -> None:
    """The finding has the count; no row of either table has changed, and no run was opened."""
    later, id_, reason = LATER[case]
    sql(ROWS)
    project = Project(tmp_path, database_url, launcher)
    project.revision("0002", "0001", f'op.archive_duplicates("first", ["k"], divergent="archive")\n{later}')
    code, output = project.run("upgrade", "head")
    assert (code, f"[{id_}]" in output, reason in output, "No row was changed" in output) == (255, True, True, True), (
        output
    )
    assert [(2, 4)] == sql("SELECT (SELECT count(*) FROM first), (SELECT count(*) FROM city)")
    assert [(None,)] == sql("SELECT to_regclass('dupe_audit.run')")
