"""The order of work can differ from the order of lines: the new key is enforced before the old one is dropped."""

import pytest

from waiting import wait_for

TABLE = (
    "CREATE TABLE quotes (id int PRIMARY KEY, market text, source text, snap int, price int,"
    " CONSTRAINT quotes_key UNIQUE (market, source, snap));"
    "INSERT INTO quotes VALUES (1, 'a', 'x', 1, 5), (2, 'a', 'y', 1, 5), (3, 'b', 'x', 1, 7)"
)
CHECKSUM = "SELECT count(*), md5(string_agg(q::text, ',' ORDER BY id)) FROM quotes AS q"
NEW = ("market", "snap")
OLD = ("market", "source", "snap")


@pytest.fixture
def project(small_project):
    """A project of one empty revision, 0001."""
    return small_project


def drop(name="quotes_key"):
    return f"op.drop_unique_constraint_online('{name}', 'quotes')"


def archive(**options):
    more = "".join(f", {name}={value!r}" for name, value in options.items())
    return f"op.archive_duplicates('quotes', {list(NEW)}{more})"


def create(name, columns=NEW):
    return f"op.create_unique_constraint_online('{name}', 'quotes', {list(columns)})"


RESTORE = f"op.restore_duplicates('quotes', {list(NEW)})"


def constraints(sql):
    return sql(
        "SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'quotes'::regclass AND contype = 'u' ORDER BY 1"
    )


def changed_key(project, name, **options):
    """Write the revision that autogenerate writes for a key that changes."""
    up = [drop(), archive(ignore=["source"], **options), create(name)]
    down = [drop(name), RESTORE, create("quotes_key", OLD)]
    project.revision("0002", "0001", "\n".join(up), "\n".join(down))


@pytest.mark.parametrize("name", ["quotes_key", "quotes_market_key"])
@pytest.mark.representatives("quotes_market_key")
def test_refused_cleanup_leaves_the_old_key_in_place(sql, project, name):
    """With divergent extras the archive is refused, and the table still has its old key."""
    sql(f"{TABLE}; UPDATE quotes SET price = id")
    changed_key(project, name)
    before = sql(CHECKSUM)
    code, output = project.run("upgrade", "head")
    assert 255 == code
    assert "[divergent-duplicates]" in output
    assert (before, [("quotes_key", "UNIQUE (market, source, snap)")]) == (sql(CHECKSUM), constraints(sql))


@pytest.mark.parametrize("name", ["quotes_key", "quotes_market_key"])
@pytest.mark.representatives("quotes_market_key")
def test_changed_key_goes_up_and_down_and_up(sql, project, name):
    """A key that changes is replaced with its rows archived, and the downgrade restores key and rows."""
    sql(TABLE)
    changed_key(project, name)
    before = sql(CHECKSUM)
    for _ in range(2):
        code, output = project.run("upgrade", "head")
        assert (0, [(name, "UNIQUE (market, snap)")]) == (code, constraints(sql)), output
        assert [(2,)] == sql("SELECT count(*) FROM quotes")
        assert [("enforced", name)] == sql("SELECT state, constraint_name FROM dupe_audit.run ORDER BY id DESC LIMIT 1")
        assert 0 == project.run("verify", "--table", "quotes", "--name", name, program="dupe_audit.cli")[0]

        code, output = project.run("downgrade", "0001")
        assert (0, [("quotes_key", "UNIQUE (market, source, snap)")]) == (code, constraints(sql)), output
        assert before == sql(CHECKSUM)
        states = sql("SELECT key_columns, state FROM dupe_audit.run ORDER BY id DESC LIMIT 2")
        assert sorted([(list(OLD), "enforced"), (list(NEW), "restored")]) == sorted(states)


@pytest.mark.parametrize("name", ["quotes_key", "quotes_market_key"])
@pytest.mark.representatives("quotes_key")
def test_table_has_a_key_at_every_moment(sql, project, name):
    """Whatever the upgrade and the downgrade do, a unique constraint enforces the table's key after each statement."""
    sql(TABLE)
    sql(
        """
        CREATE TABLE gaps (at timestamptz DEFAULT clock_timestamp());
        CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF to_regclass('quotes') IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_constraint WHERE conrelid = 'quotes'::regclass AND contype = 'u') THEN
                INSERT INTO gaps DEFAULT VALUES;
            END IF;
        END $$;
        CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch();
        """
    )
    changed_key(project, name)
    try:
        assert 0 == project.run("upgrade", "head")[0]
        assert 0 == project.run("downgrade", "0001")[0]
        assert [] == sql("SELECT * FROM gaps")
    finally:
        sql("DROP EVENT TRIGGER watching")


@pytest.mark.thorough
def test_changed_name_is_a_rename(sql, project):
    """A constraint that changes its name alone is renamed, up and down, without building an index."""
    sql(TABLE)
    down = [drop("quotes_renamed"), f"op.restore_duplicates('quotes', {list(OLD)})", create("quotes_key", OLD)]
    up = [drop(), f"op.archive_duplicates('quotes', {list(OLD)})", create("quotes_renamed", OLD)]
    project.revision("0002", "0001", "\n".join(up), "\n".join(down))
    index = sql("SELECT conindid FROM pg_constraint WHERE conname = 'quotes_key'")

    code, output = project.run("upgrade", "head")
    assert (0, [("quotes_renamed", "UNIQUE (market, source, snap)")]) == (code, constraints(sql)), output
    assert index == sql("SELECT conindid FROM pg_constraint WHERE conname = 'quotes_renamed'")
    assert [("enforced", "quotes_renamed")] == sql("SELECT state, constraint_name FROM dupe_audit.run")

    code, output = project.run("downgrade", "0001")
    assert (0, [("quotes_key", "UNIQUE (market, source, snap)")]) == (code, constraints(sql)), output
    assert index == sql("SELECT conindid FROM pg_constraint WHERE conname = 'quotes_key'")
    assert [("enforced", "quotes_key")] == sql("SELECT state, constraint_name FROM dupe_audit.run")


def test_foreign_key_to_the_old_key_stops_the_change_before_it_begins(sql, project):
    """A key that a foreign key needs is refused before a row moves, unless it is only renamed."""
    sql(TABLE)
    sql("CREATE TABLE c (m text, s text, n int, FOREIGN KEY (m, s, n) REFERENCES quotes (market, source, snap))")
    changed_key(project, "quotes_key")
    before = sql(CHECKSUM)
    code, output = project.run("upgrade", "head")
    assert (255, before) == (code, sql(CHECKSUM))
    assert "[constraint-in-use]" in output
    project.revision("0002", "0001", f"{drop()}\n{create('quotes_renamed', OLD)}")
    code, output = project.run("upgrade", "head")
    assert (0, [("quotes_renamed", "UNIQUE (market, source, snap)")]) == (code, constraints(sql)), output


SUCCESSOR = "SELECT conindid FROM pg_constraint WHERE conname LIKE 'dupe\\_audit\\_next%'"
PAUSE = """
CREATE FUNCTION pause() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_query() LIKE '%DROP CONSTRAINT%' THEN
        PERFORM pg_advisory_lock(4711);
    END IF;
END $$;
CREATE EVENT TRIGGER pausing ON ddl_command_start EXECUTE FUNCTION pause();
"""


@pytest.mark.thorough
def test_killed_before_the_replacement_the_same_command_continues(sql, project, psycopg_connect):
    """Killed when it replaces the old key, the upgrade continues with the successor that it has built already."""
    sql(TABLE)
    changed_key(project, "quotes_key")
    before = sql(CHECKSUM)
    holder = psycopg_connect(autocommit=True)
    holder.execute("SELECT pg_advisory_lock(4711)")
    sql(PAUSE)
    try:
        process, _ = project.start("upgrade", "head")
        wait_for(lambda: sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"))
        index = sql(SUCCESSOR)
        process.kill()
        process.wait()
    finally:
        holder.close()
        sql("DROP EVENT TRIGGER pausing")
    assert index
    code, output = project.run("upgrade", "head")
    assert (0, [("quotes_key", "UNIQUE (market, snap)")]) == (code, constraints(sql)), output
    assert index == sql("SELECT conindid FROM pg_constraint WHERE conname = 'quotes_key'")
    assert 0 == project.run("downgrade", "0001")[0]
    assert before == sql(CHECKSUM)


def test_statement_between_drop_and_create_keeps_the_order_of_lines(sql, project):
    """If a statement between them can depend on the drop, the lines are executed in order, and the log says so."""
    sql(TABLE)
    lines = [drop(), "op.drop_column('quotes', 'source')", archive(), create("quotes_market_key")]
    project.revision("0002", "0001", "\n".join(lines))
    code, output = project.run("upgrade", "head")
    assert (0, [("quotes_market_key", "UNIQUE (market, snap)")]) == (code, constraints(sql)), output
    assert "constraint quotes_key is dropped before the new key is enforced" in output


@pytest.mark.thorough
def test_script_drops_the_old_key_last_and_refuses_a_replacement(sql, project, psql):
    """Offline, the new key is also created first; a replacement of the same name is refused with what to do instead."""
    sql(TABLE)
    before = sql(CHECKSUM)
    changed_key(project, "quotes_market_key")
    done = psql(project.script("upgrade", "base:0002"))
    assert (0, [("quotes_market_key", "UNIQUE (market, snap)")]) == (done.returncode, constraints(sql)), done.stderr
    script = project.script("downgrade", "0002:0001")
    assert script.index('ADD CONSTRAINT "quotes_key"') < script.index("DROP CONSTRAINT")
    done = psql(script)
    assert (0, [("quotes_key", "UNIQUE (market, source, snap)")]) == (done.returncode, constraints(sql)), done.stderr
    assert before == sql(CHECKSUM)

    changed_key(project, "quotes_key")
    code, output = project.run("upgrade", "0001:0002", "--sql")
    assert 255 == code
    assert "A script cannot replace constraint quotes_key with another of the same name" in output
    assert "dupe_audit" not in output.replace("alembic.dupe_audit", "")  # before its first directive is written


def test_directives_that_are_not_called_are_not_stamped_half_done(sql, project):
    """If a directive that was read is not called, and the order of work depends on it, the revision fails."""
    sql(TABLE)
    chosen = f"if not hasattr(op, 'read'):\n    op.read = True\n    {create('quotes_market_key')}"
    project.revision("0002", "0001", f"{drop()}\n{archive(ignore=['source'])}\n{chosen}")
    code, output = project.run("upgrade", "head")
    assert 255 == code, output
    assert "Revision 0002 has executed 2 of its 3 directives" in output
    assert "Make the revision call the same directives every time it is executed" in output
    assert [("0001",)] == sql("SELECT version_num FROM alembic_version")
    assert [("quotes_key", "UNIQUE (market, source, snap)")] == constraints(sql)


@pytest.mark.thorough
def test_killed_before_the_replacement_the_run_can_be_undone(sql, project, psycopg_connect):
    """Killed when it replaces the old key and undone by the run's number, the upgrade leaves the table as before."""
    sql(TABLE)
    changed_key(project, "quotes_key")
    before = sql(CHECKSUM)
    holder = psycopg_connect(autocommit=True)
    holder.execute("SELECT pg_advisory_lock(4711)")
    sql(PAUSE)
    try:
        process, _ = project.start("upgrade", "head")
        wait_for(lambda: sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"))
        process.kill()
        process.wait()
        # Else it would replace the key before it notices that its client is gone.
        waiting = "FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
        sql(f"SELECT pg_terminate_backend(pid) {waiting}")
        wait_for(lambda: not sql(f"SELECT 1 {waiting}"))
    finally:
        holder.close()
        sql("DROP EVENT TRIGGER pausing")
    assert 0 == project.run("restore", "1", "--yes", program="dupe_audit.cli")[0]
    assert (before, [("quotes_key", "UNIQUE (market, source, snap)")]) == (sql(CHECKSUM), constraints(sql))


def test_restore_names_the_constraint_that_it_does_not_create_again(sql, project):
    """Restoring a run whose constraint replaced another says that the old one stays dropped, and what undoes both."""
    sql(TABLE)
    sql("ALTER TABLE quotes DROP CONSTRAINT quotes_key")
    project.revision("0002", "0001", create("quotes_key", OLD), drop())
    assert 0 == project.run("upgrade", "head")[0]
    up = [drop(), archive(ignore=["source"]), create("quotes_key")]
    down = [drop(), RESTORE, create("quotes_key", OLD)]
    project.revision("0003", "0002", "\n".join(up), "\n".join(down))
    before = sql(CHECKSUM)
    assert 0 == project.run("upgrade", "head")[0]

    code, output = project.run("restore", "2", "--yes", program="dupe_audit.cli")

    assert (0, before, []) == (code, sql(CHECKSUM), constraints(sql)), output
    assert (
        "This undoes run 2 alone. Constraints that revision 0003 dropped, renamed or replaced, such as quotes_key of "
        "run 1 (market, source, snap), are not created again. If the revision is applied, alembic downgrade undoes "
        "all of it."
    ) in " ".join(output.split())
