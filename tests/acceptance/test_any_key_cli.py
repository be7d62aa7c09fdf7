"""The commands for keys with expressions and predicates, as processes."""

import json

import pytest

from alembic_project import Project
from dupe_audit.errors import Refused
from dupe_audit.restore import restore

ROWS = """
CREATE TABLE users (id int PRIMARY KEY, email text, tenant int, last_login date, deleted_at date);
INSERT INTO users VALUES
    (1, 'Ann@x', 1, '2024-01-01', NULL), (2, 'ann@X', 1, '2026-01-01', NULL), (3, 'ANN@x', 1, NULL, NULL),
    (4, 'ann@x', 1, '2026-09-09', '2026-09-10'), (5, 'bob@x', 1, NULL, NULL)
"""
KEY = ("--table", "users", "-c", "tenant", "-e", "lower(email)", "--where", "deleted_at IS NULL")


@pytest.fixture
def users(sql):
    """A table in which three living users share an address but for its case."""
    sql(ROWS)


def test_verify_takes_the_command_line_of_preflight(dupe_audit, users, sql):
    """The options of a rule leave the verdict of verify as it is, so one command line serves preflight and verify."""
    sql("DELETE FROM users WHERE id IN (2, 3)")
    sql("CREATE UNIQUE INDEX u ON users (tenant, lower(email)) WHERE deleted_at IS NULL")
    rule = ("--order-by", "last_login DESC", "--divergent", "archive", "--references", "repoint", "--ignore", "email")
    line = (*KEY, "--name", "u", *rule, "--keep", "first", "--format", "json")
    dupe_audit("preflight", *line)
    assert json.loads(dupe_audit("verify", *line).stdout) == json.loads(
        dupe_audit("verify", *KEY, "--name", "u", "--format", "json").stdout
    )


def test_preflight_json_of_any_key(dupe_audit, users):
    """The JSON has elements in the order given, predicate, rule, differences, samples and the rows left out."""
    rule = (
        "--order-by",
        "last_login DESC NULLS LAST",
        "--order-by",
        "id",
        "--divergent",
        "archive",
        "--ignore",
        "email",
    )
    done = dupe_audit("preflight", *KEY, *rule, "--samples", "2", "--format", "json", code=1)
    report = json.loads(done.stdout)
    expected = {
        "columns": ["tenant"],
        "elements": ["tenant", "lower(email)"],
        "where": "deleted_at IS NULL",
        "revision": None,
        "rule": {
            "keep": "first",
            "order_by": ["last_login DESC NULLS LAST", "id"],
            "exact": "archive",
            "divergent": "archive",
            "references": "refuse",
            "ignore": ["email"],
            "set_": {},
            "merge": {},
        },
        "rows": 5,
        "outside_rows": 1,
        "extras": 2,
        "differs": {"last_login": 1},
        "samples": [
            {
                "rows": 3,
                "differs": ["last_login"],
                "survivor": {"identity": {"id": "2"}},
                "extras": [
                    {"identity": {"id": "1"}, "differs": ["last_login"]},
                    {"identity": {"id": "3"}, "differs": ["last_login"]},
                ],
            }
        ],
    }
    assert expected == {name: report[name] for name in expected}
    swapped = ("--table", "users", "-e", "lower(email)", "-c", "tenant", "-e", "upper(email)", "-c", "last_login")
    report = json.loads(dupe_audit("preflight", *swapped, "--format", "json").stdout)
    assert (["lower(email)", "tenant", "upper(email)", "last_login"], ["tenant", "last_login"]) == (
        report["elements"],
        report["columns"],
    )


@pytest.mark.parametrize("style", ["text", "markdown"])
@pytest.mark.representatives("markdown")
def test_preflight_text_of_any_key(dupe_audit, users, style):
    """The text shows the predicate, the rows it leaves out and the samples; addresses only on request."""
    output = dupe_audit("preflight", *KEY, "--keep", "last", "--samples", "1", "--format", style, code=1).stdout
    words = " ".join(output.replace("|", " ").replace("`", "").replace("*", "").split())
    assert "public.users (tenant, lower(email)) WHERE deleted_at IS NULL" in words
    assert "rows outside the predicate 1" in words
    assert "groups that differ in last_login 1" in words
    assert "ample 1: 3 rows; differs in email, last_login" in words
    assert "survives leaves leaves" in words
    assert "id 3 2 1" in words
    assert "ann" not in output.lower()
    shown = dupe_audit("preflight", *KEY, "--samples", "1", "--show-keys", "--format", style, code=1).stdout
    words = " ".join(shown.replace("|", " ").replace("`", "").replace("*", "").split())
    assert "email Ann@x ≠ ann@X ≠ ANN@x last_login 2024-01-01 ≠ 2026-01-01 ≠ NULL" in words


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("preflight", "--where", "true"), "A key needs --table"),
        (("preflight", "--table", "users", "--where", "true"), "Name the columns of the key, or its expressions"),
        (("preflight", "--keep", "last"), "--keep: without --table, the rule of each revision is used."),
        (("verify", "--keep", "last"), "--keep: without --table, the rule of each revision is used."),
        (
            ("verify", *KEY, "--name", "u", "--keep", "last", "--order-by", "id DESC"),
            "--keep last would reverse an order",
        ),
        (("verify", *KEY, "--name", "u", "--schema", "a", "--schemas", "b"), "cannot be given together"),
        (("preflight", *KEY, "--keep", "last", "--order-by", "id DESC"), "--keep last would reverse an order"),
        (("preflight", *KEY, "-e", " "), "is not a valid expression"),
        (("verify", "--table", "users", "--name", "ux", "--where", "true"), "--where needs the elements of the key"),
        (("verify", "-e", "lower(email)"), "A key needs --table"),
        (
            ("preflight", "--table", "users", "-c", "id", "--where", "deleted_at", "IS", "NULL"),
            "Quote SQL for the shell",
        ),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(dupe_audit, users, arguments, says):
    """Options that would have no effect, or contradict one another, are wrong usage and say what to do."""
    assert says in dupe_audit(*arguments, code=2).stderr


def test_order_takes_columns_by_their_exact_name(dupe_audit, sql):
    """A column whose name is not a single word is a column; a single word that names none is a missing column."""
    sql('CREATE TABLE t (id int PRIMARY KEY, k int, "my rank" int); INSERT INTO t VALUES (1, 7, 2), (2, 7, 1)')
    options = ("--table", "t", "-c", "k", "--samples", "1", "--format", "json")
    done = dupe_audit("preflight", *options, "--order-by", "my rank", code=1)
    assert {"id": "2"} == json.loads(done.stdout)["samples"][0]["survivor"]["identity"]
    findings = json.loads(dupe_audit("preflight", *options, "--order-by", "rank", code=1).stdout)["findings"]
    assert "column-missing" in [each["id"] for each in findings]


UP = """
op.archive_duplicates("users", ["tenant", sa.text("lower(email)")], where="deleted_at IS NULL",
                      order_by=[sa.text("last_login DESC NULLS LAST")], divergent="archive")
op.create_unique_index_online("ux", "users", ["tenant", sa.text("lower(email)")], where="deleted_at IS NULL")
"""
DOWN = """
op.drop_unique_index_online("ux", "users")
op.restore_duplicates("users", ["tenant", sa.text("lower(email)")], where="deleted_at IS NULL")
"""


@pytest.fixture
def project(tmp_path, database_url, launcher, users):
    """A project whose second revision makes the addresses of living users unique."""
    project = Project(tmp_path, database_url, launcher)
    project.revision("0002", "0001", UP, DOWN)
    return project


def test_pending_and_applied_indexes_are_read_from_the_revisions(project, launcher):
    """Without --table, preflight shows the key with the rule of its revision, and verify proves the index."""

    def run(*arguments, code):
        done = launcher.run("dupe_audit.cli", *arguments, cwd=project.folder, env=project.environment)
        assert code == done.returncode, (done.stdout, done.stderr)
        return done.stdout

    assert project.run("upgrade", "0001")[0] == 0
    (pending,) = json.loads(run("preflight", "--format", "json", code=1))
    assert ("0002", ["tenant", "lower(email)"], 2, "last_login DESC NULLS LAST") == (
        pending["revision"],
        pending["elements"],
        pending["extras"],
        pending["rule"]["order_by"][0],
    )
    assert project.run("upgrade", "head")[0] == 0
    (applied,) = json.loads(run("verify", "--format", "json", code=0))
    assert (["tenant"], ["tenant", "lower(email)"], "deleted_at IS NULL", True, 0) == (
        applied["columns"],
        applied["elements"],
        applied["where"],
        applied["ok"],
        applied["extras"],
    )
    assert {
        "id": 1,
        "rows_before": 5,
        "archived": 2,
        "amended": 0,
        "merged": 0,
        "restored": 0,
        "reverted": 0,
    } == applied["run"]
    (ledger_run,) = json.loads(run("runs", "--format", "json", code=0))
    assert (["tenant", "lower(email)"], "deleted_at IS NULL") == (ledger_run["elements"], ledger_run["where"])
    assert "unique index ux" in " ".join(run("verify", code=0).split())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("ALTER TABLE users RENAME email TO mail; ALTER TABLE users RENAME deleted_at TO gone", 0),
        ("ALTER TABLE users RENAME email TO mail; ALTER TABLE users RENAME tenant TO owner", 0),
        ("ALTER TABLE users RENAME email TO mail; ALTER TABLE users ADD email text", 0),
        ("ALTER TABLE users ADD other text; DROP INDEX ux; CREATE UNIQUE INDEX ux ON users (tenant, lower(other))", 1),
        ("ALTER TABLE users RENAME email TO mail; DROP INDEX ux; CREATE UNIQUE INDEX ux ON users (tenant, id)", 1),
    ],
)
@pytest.mark.representatives("change3-1", "ALTER TABLE users RENAME email TO mail; DROP INDEX ux*")
def test_key_of_an_applied_revision_is_verified_after_a_rename(project, launcher, sql, change, code):
    """The text of the revision counts under the names of its time, but not for an index of another key."""
    assert project.run("upgrade", "head")[0] == 0
    sql(change)
    done = launcher.run("dupe_audit.cli", "verify", "--format", "json", cwd=project.folder, env=project.environment)
    assert (code, "") == (done.returncode, done.stderr.partition("Error")[2]), done.stdout
    (report,) = json.loads(done.stdout)
    assert (code == 0) == report["ok"]
    assert code or (1, 0) == (report["run"]["id"], report["extras"])


def test_missing_index_of_an_applied_revision_is_reported_as_an_index(project, launcher, sql):
    """What verify says of a missing index, and how to create it again, is about an index."""
    assert project.run("upgrade", "head")[0] == 0
    sql("DROP INDEX ux")
    done = launcher.run("dupe_audit.cli", "verify", cwd=project.folder, env=project.environment)
    words = " ".join(done.stdout.split())
    assert 1 == done.returncode
    assert "public.users has no unique index ux." in words
    assert (
        "create the index again in a new revision: op.archive_duplicates(), then op.create_unique_index_online()"
        in words
    )


@pytest.mark.parametrize("change", ["SELECT", "ALTER INDEX ux RENAME TO other", "DROP INDEX ux"])
@pytest.mark.representatives("ALTER INDEX ux RENAME TO other")
def test_restore_drops_the_index_of_the_run(project, dupe_audit, sql, change):
    """The command finds the index by its name or, if it was renamed, by what it compares; and puts the rows back."""
    before = sql("SELECT u::text FROM users u ORDER BY id")
    assert project.run("upgrade", "head")[0] == 0
    sql(change)
    sql("CREATE UNIQUE INDEX kept ON users (lower(email), id) WHERE deleted_at IS NULL")
    done = dupe_audit("restore", "1", "--yes")
    assert "run 1: 2 rows restored" in done.stdout
    assert (change == "DROP INDEX ux") == ("was dropped" not in done.stderr)
    assert before == sql("SELECT u::text FROM users u ORDER BY id")
    assert [("kept",), ("users_pkey",)] == sql(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'users'::regclass ORDER BY 1"
    )


def test_restore_that_an_index_stops_names_the_index(project, sql, conn):
    """A restore that another unique index of the same key prevents says which one."""
    assert project.run("upgrade", "head")[0] == 0
    with pytest.raises(Refused, match=r"Unique index ux still enforces the key\. Drop it with op\.drop_unique_index"):
        list(restore(conn, 1))


def test_failing_expression_ends_with_findings_not_with_an_error(dupe_audit, sql):
    """A cast of bad text is a finding with its number of rows; the text itself is shown only on request."""
    sql("CREATE TABLE t (id int PRIMARY KEY, code text); INSERT INTO t VALUES (1, '1'), (2, 'secret')")
    options = ("preflight", "--table", "t", "-e", "code::int")
    quiet = dupe_audit(*options, code=1)
    assert "code::int fails for 1 row (SQLSTATE 22P02)" in " ".join(quiet.stdout.split())
    assert "secret" not in quiet.stdout + quiet.stderr
    shown = " ".join(dupe_audit(*options, "--show-keys", code=1).stdout.split())
    assert 'code::int fails for id 2 invalid input syntax for type integer: "secret"' in shown
