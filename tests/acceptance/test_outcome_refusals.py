"""Values of set_ and merge that can never work: refused online and in a script before anything is written."""

from pathlib import Path
from typing import Any

import pytest

from alembic_project import Project
from conftest import Sql
from launch import Launcher

ROWS = """
CREATE TABLE city (id int PRIMARY KEY, name varchar(10) NOT NULL, people int, tags int[]);
INSERT INTO city VALUES (1, 'Rome', 3, NULL), (2, 'Rome', 4, NULL), (3, 'Oslo', 1, NULL);
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('0001')
"""
NAMED = "name || duplicate.number"
#: what is set or merged, the finding, and its reason
REFUSED = {
    "syntax": (
        "set_={'people': 1, 'name': sa.text('name || (')}",
        "expression-invalid",
        "set_, column name: syntax error",
    ),
    "closing": ("set_={'name': sa.text('name) || (name')}", "expression-invalid", "set_, column name: syntax error"),
    "comment": ("set_={'name': sa.text('name -- new')}", "expression-invalid", "set_, column name: syntax error"),
    "aggregate": (
        f"set_={{'name': sa.text({NAMED!r}), 'people': sa.text('max(people)')}}",
        "expression-invalid",
        "set_, column people: an aggregate is allowed only in a subquery",
    ),
    "aggregate beside a column": (
        "set_={'name': sa.text('name || count(*)')}",
        "expression-invalid",
        "set_, column name: an aggregate is allowed only in a subquery",
    ),
    "aggregate of the survivor": (
        "set_={'name': sa.text('max(survivor.name)')}",
        "expression-invalid",
        "set_, column name: an aggregate is allowed only in a subquery",
    ),
    "window": (
        "set_={'name': sa.text('name || row_number() OVER ()')}",
        "expression-invalid",
        "set_, column name: a window function is allowed only in a subquery",
    ),
    "several values": (
        "set_={'name': sa.text('name || generate_series(1, 2)')}",
        "expression-invalid",
        "set_, column name: set-returning functions are not allowed",
    ),
    "type": (
        f"set_={{'name': sa.text({NAMED!r}), 'people': sa.text('now()')}}",
        "expression-invalid",
        "set_, column people: cannot cast type timestamp with time zone to integer",
    ),
    "identity": ("set_={'id': sa.text('id + 10')}", "column-not-changeable", "id is in the primary key"),
    "null": ("set_={'name': None}", "change-fails", "1 extra: column name must not be NULL"),
    "null by sql": ("set_={'name': sa.text('NULL')}", "change-fails", "column name must not be NULL"),
    "two ways": (
        "merge={'people': 'sum', 'tags': 'sum'}",
        "expression-invalid",
        "merge, column tags: function pg_catalog.sum(integer[]) does not exist",
    ),
    "no aggregate": ("merge={'people': sa.text('people')}", "expression-invalid", "merge, column people: column"),
}


@pytest.fixture
def project(tmp_path: Path, database_url: str, launcher: Launcher) -> Project:
    """An empty project."""
    return Project(tmp_path, database_url, launcher)


@pytest.mark.parametrize("way", ["online", "script"])
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.representatives(
    "syntax-online", "closing-script", "aggregate-online", "several values-script", "identity-online", "null-online"
)
def test_value_that_can_never_work(project: Project, psql: Any, sql: Sql, case: str, way: str) -> None:
    """The refusal has the finding, the column and the reason; no row is changed, and no traceback is printed."""
    new, id_, reason = REFUSED[case]
    sql(ROWS)
    directive = "amend" if new.startswith("set_") else "archive"
    project.revision("0002", "0001", f'op.{directive}_duplicates("city", ["name"], {new})')
    before = sql("SELECT c::text FROM city c ORDER BY 1")
    if way == "script":
        done = psql(project.script("upgrade", "0001:0002"))
        code, output = done.returncode, done.stderr
    else:
        code, output = project.run("upgrade", "head")
    assert (code, id_ in output, reason in output) == (255 if way == "online" else 3, True, True), output
    assert "Traceback" not in output
    assert before == sql("SELECT c::text FROM city c ORDER BY 1")
    assert [("0001",)] == sql("SELECT version_num FROM alembic_version")


def test_aggregate_in_a_subquery(project: Project, sql: Sql) -> None:
    """A subquery of a new value may contain an aggregate."""
    sql(ROWS)
    new = "sa.text('(SELECT min(o.name) FROM city o) || city.id')"
    project.revision("0002", "0001", f'op.amend_duplicates("city", ["name"], {{"name": {new}}})')
    code, output = project.run("upgrade", "head")
    assert (code, [("Oslo",), ("Oslo2",), ("Rome",)]) == (0, sql("SELECT name FROM city ORDER BY 1")), output
