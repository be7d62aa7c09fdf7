"""Findings about rules that change rows, accepted in every documented way."""

from pathlib import Path
from typing import Any

import pytest

from alembic_project import Project
from conftest import Sql
from launch import Launcher

TABLES = """
CREATE TABLE city (id int PRIMARY KEY, name text, people int);
INSERT INTO city VALUES (1, 'Rome', 3), (2, 'Rome', 4), (3, 'Oslo', 1);
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('0001');
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN coalesce(NEW, OLD); END$$;
"""
TRIGGER = "CREATE TRIGGER noted BEFORE {0} ON {1} FOR EACH ROW EXECUTE FUNCTION note();"
STREET = """
CREATE TABLE street (id int PRIMARY KEY, city int REFERENCES city); CREATE INDEX ON street (city);
INSERT INTO street VALUES (1, 2);
"""
LARGE = """
CREATE TABLE street (id int PRIMARY KEY, city int REFERENCES city);
INSERT INTO street SELECT n, 3 FROM generate_series(1, 40000) n; ANALYZE street;
"""
AMEND = 'op.amend_duplicates("city", ["name"], {"name": sa.text("name || city.id")})'
MERGE = 'op.archive_duplicates("city", ["name"], merge={"people": "sum"}, references="repoint")'
RESTORE = 'op.restore_duplicates("city", ["name"])'
CREATE = 'op.create_unique_constraint_online("city_name", "city", ["name"])'
DROP = 'op.drop_unique_constraint_online("city_name", "city")'
#: each finding with what provokes it: SQL, the directive, and what the downgrade restores
CASES = {
    "update-trigger": (TRIGGER.format("UPDATE", "city"), AMEND, RESTORE),
    "delete-trigger": (TRIGGER.format("DELETE", "city"), MERGE, RESTORE),
    "child-trigger": (STREET + TRIGGER.format("UPDATE", "street"), MERGE, RESTORE),
    "foreign-key-unindexed": (LARGE, MERGE, RESTORE),
    "published-ledger": ("CREATE PUBLICATION everything FOR ALL TABLES", AMEND, RESTORE),
    "restore-mismatch": ("", AMEND, 'op.restore_duplicates("city", ["people"])'),
}


@pytest.fixture
def project(tmp_path: Path, database_url: str, launcher: Launcher) -> Project:
    """An empty project."""
    return Project(tmp_path, database_url, launcher)


def attempt(project: Project, psql: Any, way: str, *accept: str) -> tuple[int, str]:
    """Return how an upgrade or its script ends."""
    options = ("-x", f"dupe_audit.accept={','.join(accept)}") if accept else ()
    if way == "online":
        return project.run(*options, "upgrade", "head")
    code, script = project.run(*options, "upgrade", "0001:0002", "--sql")
    if code:
        return code, script
    done = psql(project.script(*options, "upgrade", "0001:0002"))
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("id_", "how", "way"),
    [
        ("update-trigger", "option", "online"),
        ("update-trigger", "option", "script"),
        *((id_, "comment", way) for id_ in CASES for way in ("online", "script")),
    ],
)
@pytest.mark.representatives("delete-trigger-comment-script")
def test_accepted_finding(project: Project, psql: Any, sql: Sql, id_: str, how: str, way: str) -> None:
    """A finding that stops the upgrade and its script stops neither once it is accepted, nor the preflight."""
    provoke, directive, restore = CASES[id_]
    sql(TABLES + provoke)
    down = f"{DROP}\n{restore}"
    project.revision("0002", "0001", f"{directive}\n{CREATE}", down)
    code, output = attempt(project, psql, way)
    assert (code != 0, id_ in output) == (True, True), output
    comment, accept = (f"# dupe-audit: accept {id_} - it may\n", ()) if how == "comment" else ("", (id_,))
    project.revision("0002", "0001", f"{comment}{directive}\n{CREATE}", down)
    options = [f"--accept={each}" for each in accept]
    output = project.run("preflight", *options, program="dupe_audit.cli")[1]
    assert f"error [{id_}]" not in output
    code, output = attempt(project, psql, way, *accept)
    assert code == 0, output
    assert [("0002",)] == sql("SELECT version_num FROM alembic_version")


def test_wrong_argument_is_the_first_finding_of_preflight(project: Project, sql: Sql) -> None:
    """A directive with a wrong argument is reported before its key, whose duplicates its rule could resolve."""
    sql(TABLES)
    project.revision("0002", "0001", f'op.archive_duplicates("city", ["name"], divergent="ammend")\n{CREATE}', DROP)
    code, output = project.run("preflight", program="dupe_audit.cli")
    assert (code, "divergent must be one of refuse, archive, amend, not 'ammend'" in output) == (1, True), output
    assert output.index("[revision-unread]") < output.index("[duplicates]")
    assert "[divergent-duplicates]" not in output
    assert "Correct the revision first: op.archive_duplicates() for this key may be in what could not be" in output
    assert "Let the upgrade archive the extras" not in output
