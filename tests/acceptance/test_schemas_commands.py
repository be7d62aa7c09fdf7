"""The commands and the script of --sql, for the same table in many schemas."""

import json

import pytest

from tenants import DOWN, UP, Tenants


@pytest.fixture
def tenants(sql, small_project, database_url, monkeypatch):
    """Schemas with the table, and the project that migrates them."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return Tenants(sql, small_project)


def lines(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_preflight_of_many_schemas_is_a_line_each_and_totals(sql, tenants):
    """Named by a pattern or one by one: a line per schema, the totals, and a kind of finding once; it exits with 1."""
    tenants.create("tenant_a", "tenant_b", "other")
    sql(
        "UPDATE tenant_b.orders SET v = 'w' WHERE id = 9; CREATE SCHEMA tenant_c; DELETE FROM other.orders WHERE id > 7"
    )
    key = ("--table", "orders", "-c", "k")
    done = tenants.dupe_audit("preflight", "--schemas", "tenant_*", *key, code=1)
    assert lines(done.stdout)[:5] == [
        "orders (k): 2 schemas",
        "schema rows groups extras exact groups divergent groups findings",
        "tenant_a 10 2 2 2 0 duplicates",
        "tenant_b 10 2 2 1 1 divergent-duplicates, duplicates",
        "total 20 4 4 3 1 0 clean",
    ]
    assert 1 == done.stdout.count("[divergent-duplicates] in 1 schema: tenant_b")
    report = json.loads(
        tenants.dupe_audit(
            "preflight", "--schemas", "tenant_?", "--schemas", "other", *key, "--format", "json", code=1
        ).stdout
    )
    assert ["tenant_a", "tenant_b", "other"] == [place["schema"] for place in report["places"]]
    assert {
        "places": 3,
        "clean": 1,
        "rows": 28,
        "groups": 4,
        "extras": 4,
        "exact_groups": 3,
        "divergent_groups": 1,
    } == (report["totals"])
    done = tenants.dupe_audit("preflight", "--schemas", "tenant_*", *key, "--samples", "1", code=1)
    assert "tenant_b.orders (k)" in done.stdout
    markdown = tenants.dupe_audit("preflight", "--schemas", "other", *key, "--format", "markdown").stdout
    assert "| other | 8 | 0 | 0 | 0 | 0 | - |" in markdown

    done = tenants.dupe_audit("preflight", "--schemas", "other", "--schemas", "tenant_c", *key, code=1)
    assert "tenant_c - - - - - table-missing" in lines(done.stdout)
    done = tenants.dupe_audit("preflight", "--schemas", "x_*", *key, code=2)
    assert "--schemas 'x_*': no schema of that name has a table orders." in done.stderr
    tenants.dupe_audit("preflight", "--schemas", "other", "--schema", "other", *key, code=2)


@pytest.mark.thorough
def test_revisions_are_read_with_their_schemas(sql, tenants):
    """Preflight and verify without a key ask the query of a revision, and examine each schema by its rule."""
    tenants.revision()
    assert "revision 0002: the schemas query returns no schema now" in tenants.dupe_audit("preflight").stderr
    names = tenants.numbered(3)
    tenants.revision()
    done = tenants.dupe_audit("preflight", code=1)
    assert "orders (k), uq: 3 schemas" in done.stdout
    assert "total 30 6 6 6 0 0 clean" in lines(done.stdout)
    reports = json.loads(tenants.dupe_audit("preflight", "--format", "json", code=1).stdout)
    assert [(name, "0002", ["id"]) for name in names] == [
        (report["schema"], report["revision"], report["rule"]["order_by"]) for report in reports
    ]
    reports = json.loads(tenants.dupe_audit("preflight", "--schemas", "*_01", "--format", "json", code=1).stdout)
    assert ["tenant_01"] == [report["schema"] for report in reports]

    assert "" == tenants.migrate("head")
    done = tenants.dupe_audit("verify")
    assert "tenant_01 yes 8 0 2 -" in lines(done.stdout)
    assert "total 3 24 0 3 clean" in lines(done.stdout)
    done = tenants.dupe_audit("verify", "--schemas", "tenant_*", "--table", "orders", "--name", "uq")
    assert "total 3 24 0 3 clean" in lines(done.stdout)

    # A tenant that lacks the key is named; one that was created with it needs no run.
    tenants.create("tenant_new")
    sql("CREATE SCHEMA tenant_x; CREATE TABLE tenant_x.orders (id int PRIMARY KEY, k int CONSTRAINT uq UNIQUE)")
    done = tenants.dupe_audit("verify", code=1)
    assert "tenant_new NO 10 2 - constraint-missing, duplicates-remain" in lines(done.stdout)
    assert "tenant_x yes 0 0 - -" in lines(done.stdout)
    report = tenants.dupe_audit(
        "verify", "--schemas", "tenant_*", "--table", "orders", "--name", "uq", "--format", "json", code=1
    )
    assert {"places": 5, "ok": 4, "rows": 24, "extras": 0} == json.loads(report.stdout)["totals"]


def test_query_that_fails_is_reported_as_unread(tenants):
    """If the query of a revision cannot be asked, preflight and verify report it, and exit with 1."""
    tenants.revision("sa.text('SELECT name FROM no_such_table')")
    done = tenants.dupe_audit("preflight", code=1)
    assert "[revision-unread] Revision 0002 cannot be read: The schemas query failed" in done.stdout


def test_runs_restore_and_purge_take_a_campaign(sql, tenants):
    """After a partly refused upgrade, the campaign is shown, undone schema by schema, and purged."""
    tenants.numbered(3)
    sql("UPDATE tenant_02.orders SET v = 'w' WHERE id = 9")
    tenants.revision()
    assert "in 1 of 3 schemas" in tenants.migrate("head")
    done = tenants.dupe_audit("runs", "--campaign", "1")
    assert 3 == done.stdout.count("0002 (campaign 1)")
    assert "3 runs: 2 enforced, 1 failed; 4 rows archived, 0 restored;" in done.stdout
    done = tenants.dupe_audit("runs", "--schemas", "*_01")
    assert ("tenant_01.orders" in done.stdout, "tenant_00.orders" in done.stdout) == (True, False)
    done = tenants.dupe_audit("runs", "--schemas", "x_*")
    assert ("no run of these schemas" in done.stdout, "empty" in done.stdout) == (True, False)
    assert "campaign 9" in tenants.dupe_audit("runs", "--campaign", "9", code=3).stderr

    tenants.dupe_audit("restore", code=2)
    tenants.dupe_audit("restore", "1", "--campaign", "1", code=2)
    assert "undo 3 runs" in tenants.dupe_audit("restore", "--campaign", "1", code=2).stderr
    assert ["tenant_00", "tenant_01"] == tenants.enforced
    sql("INSERT INTO tenant_01.orders VALUES (8, 80, 'taken')")
    done = tenants.dupe_audit("restore", "--campaign", "1", "--yes", code=1)
    assert "run 2 of tenant_01.orders: " in done.stderr
    assert ([], [10, 10, 10]) == (tenants.enforced, tenants.rows("tenant_00", "tenant_01", "tenant_02"))
    sql("DELETE FROM tenant_01.orders WHERE k = 80")
    tenants.dupe_audit("restore", "--campaign", "1", "--yes")
    assert [10, 10, 10] == tenants.rows("tenant_00", "tenant_01", "tenant_02")
    assert [("undone",)] == sql("SELECT state FROM dupe_audit.campaign")

    tenants.dupe_audit("purge", "--campaign", "1", "--yes")
    assert [(3,)] == sql("SELECT count(*)::int FROM dupe_audit.run WHERE purged_at IS NOT NULL")


@pytest.mark.thorough
def test_script_names_each_schema_of_a_list(sql, tenants, psql):
    """--sql writes out a list, and psql does the same as online, up and down; a query is refused in words."""
    sql("CREATE TABLE alembic_version (version_num text PRIMARY KEY); INSERT INTO alembic_version VALUES ('0001')")
    names = tenants.numbered(2)
    tenants.revision(names)
    up = tenants.project.script("upgrade", "0001:0002")
    down = tenants.project.script("downgrade", "0002:0001")
    for _ in range(2):
        done = psql(up)
        assert 0 == done.returncode, done.stderr
        assert (names, [8, 8], "0002") == (tenants.enforced, tenants.rows(*names), tenants.stamped)
        done = psql(down)
        assert 0 == done.returncode, done.stderr
        assert ([], [10, 10], "0001") == (tenants.enforced, tenants.rows(*names), tenants.stamped)

    tenants.revision()
    code, output = tenants.project.run("upgrade", "0001:0002", "--sql")
    assert 255 == code
    assert "op.archive_duplicates(), revision 0002. A script cannot execute the schemas query" in output


def test_script_names_every_dirty_schema_before_it_changes_one(sql, tenants, psql):
    """A script judges all of its schemas before the first change, and stops with one error that names each refusal."""
    sql("CREATE TABLE alembic_version (version_num text PRIMARY KEY); INSERT INTO alembic_version VALUES ('0001')")
    names = tenants.numbered(5)
    sql(
        "UPDATE tenant_01.orders SET v = 'w' WHERE id = 9; UPDATE tenant_03.orders SET v = 'w' WHERE id = 9;"
        "DROP TABLE tenant_04.orders; CREATE TABLE tenant_02.uq (i int)"
    )
    tenants.revision(names)
    up = tenants.project.script("upgrade", "0001:0002")
    done = psql(up)
    assert "refused in 4 of 5 schemas; no directive has changed anything" in done.stderr
    for name, reason in {
        "tenant_01": "divergent-duplicates: rows of tenant_01.orders (k) carry different data",
        "tenant_02": "name-taken: tenant_02.uq",
        "tenant_03": "divergent-duplicates: rows of tenant_03.orders (k) carry different data",
        "tenant_04": "table-missing: table orders does not exist",
    }.items():
        assert 1 == done.stderr.count(f"{name}.orders (k): {reason}"), done.stderr
    assert ("0001", [], [(None,)]) == (tenants.stamped, tenants.enforced, sql("SELECT to_regnamespace('dupe_audit')"))
    assert [10] * 4 == tenants.rows(*names[:4])

    sql("UPDATE tenant_01.orders SET v = 'v'; UPDATE tenant_03.orders SET v = 'v'; DROP TABLE tenant_02.uq")
    tenants.revision(names[:4])
    done = psql(tenants.project.script("upgrade", "0001:0002"))
    assert 0 == done.returncode, done.stderr
    assert (names[:4], [8] * 4, "0002") == (tenants.enforced, tenants.rows(*names[:4]), tenants.stamped)

    sql("DROP TABLE dupe_audit.archive_1, dupe_audit.archive_3")
    done = psql(tenants.project.script("downgrade", "0002:0001"))
    assert "refused in 2 of 4 schemas; no directive has changed anything" in done.stderr
    assert ["constraint uq on tenant_00.orders: archive-missing" in done.stderr] == [True], done.stderr
    assert (names[:4], "0002") == (tenants.enforced, tenants.stamped)


@pytest.mark.thorough
def test_check_goes_up_down_and_up_with_schemas(sql, tenants):
    """dupe-audit check executes such a revision on rows with duplicates in every schema of its list."""
    up = "".join(
        f"op.execute('CREATE SCHEMA {name}')\n"
        f"op.create_table('orders', sa.Column('id', sa.Integer, primary_key=True), sa.Column('k', sa.Integer),"
        f" schema='{name}')\n"
        for name in ("tenant_a", "tenant_b")
    )
    down = "".join(
        f"op.drop_table('orders', schema='{n}')\nop.execute('DROP SCHEMA {n}')\n" for n in ("tenant_b", "tenant_a")
    )
    tenants.project.revision("0001", None, up, down)
    tenants.revision(["tenant_a", "tenant_b"], up=UP, down=DOWN)
    report = json.loads(tenants.dupe_audit("check", "--rows", "50", "--format", "json").stdout)
    assert [] == report["findings"], report
