"""Scripts of `alembic upgrade --sql` for a partitioned table: they do what the upgrade does, leaf by leaf."""

import re

import pytest

TREE = """
CREATE TABLE event (id int, day date NOT NULL, kind int, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY HASH (day);
CREATE TABLE "Event 2a" PARTITION OF event_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE event_2b (gone int, kind int, note text, day date NOT NULL, id int NOT NULL);
ALTER TABLE event_2b DROP COLUMN gone;
ALTER TABLE event_2 ATTACH PARTITION event_2b FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE event_0 PARTITION OF event DEFAULT;
INSERT INTO event SELECT i, date '2026-01-15' + mod(i, 70), 1, CASE WHEN i > 190 THEN 'N' ELSE 'm' END
FROM generate_series(1, 200) AS i
"""
ROWS = "SELECT tableoid::regclass::text, t::text FROM event t ORDER BY 1, 2"
GROUPS = "SELECT count(*) FROM (SELECT FROM event GROUP BY day, kind HAVING count(*) > 1) AS g"
ATTACHED = """
SELECT count(*) FROM pg_inherits h JOIN pg_index i ON i.indexrelid = h.inhrelid
WHERE i.indexrelid::regclass::text ~ 'event_key' AND i.indisvalid
"""
CLEAN = 'op.archive_duplicates("event", ["day", "kind"], divergent="archive")'
RESTORE = 'op.restore_duplicates("event", ["day", "kind"])'
CONSTRAINT = 'op.create_unique_constraint_online("event_key", "event", ["day", "kind"])'
INDEX = 'op.create_unique_index_online("event_key", "event", ["day", "kind"])'
DROP_CONSTRAINT = 'op.drop_unique_constraint_online("event_key", "event")'
DROP_INDEX = 'op.drop_unique_index_online("event_key", "event")'
SCRIPT = ("-x", "dupe_audit.partitioned=event", "upgrade", "0001:0002")


@pytest.fixture
def script(small_project, sql):
    """Print the script of an upgrade with these directives, for a tree of four leaves and an inner level."""
    sql(TREE)

    def print_script(up, down="pass"):
        small_project.revision("0002", "0001", up, down)
        assert small_project.run("upgrade", "0001")[0] == 0
        return small_project.script(*SCRIPT)

    return print_script


@pytest.mark.parametrize(
    ("create", "drop"), [(CONSTRAINT, DROP_CONSTRAINT), (INDEX, DROP_INDEX)], ids=["constraint", "index"]
)
@pytest.mark.representatives("constraint")
def test_script_goes_up_and_down_on_a_tree(script, small_project, sql, psql, create, drop):
    """The script archives, builds, adopts and stamps as the upgrade does; executed again, it changes nothing."""
    text = script(f"{CLEAN}\n{create}", f"{drop}\n{RESTORE}")
    before = sql(ROWS)
    for _ in range(2):
        done = psql(text)
        assert done.returncode == 0, done.stderr
    assert [(0,)] == sql(GROUPS)
    assert [("enforced", 130, 130, 200)] == sql("SELECT state, archived, extras, rows_before FROM dupe_audit.run")
    leaves = "SELECT dupe_audit_leaf FROM dupe_audit.archive_1 GROUP BY 1 ORDER BY 1"
    assert [('public."Event 2a"',), ("public.event_0",), ("public.event_1",), ("public.event_2b",)] == sql(leaves)
    assert [(5,)] == sql(ATTACHED)
    code, output = small_project.run("verify", program="dupe_audit.cli")
    assert code == 0, output
    code, output = small_project.run("downgrade", "0001")
    assert code == 0, output
    assert before == sql(ROWS)
    assert [] == sql("SELECT relname FROM pg_class WHERE relname LIKE 'event_key%'")


def before(text, marker, statement):
    """Return the script with a statement before a line of it, which psql executes in the same session."""
    start = text.index(marker)
    return f"{text[:start]}\n{statement};\n{text[start:]}"


BUILDS = "-- dupe-audit: enforce"
ADOPTION = "CALL pg_temp.dupe_audit_adopt_tree"
COMES = "CREATE TABLE event_3 PARTITION OF event FOR VALUES FROM ('2027-01-01') TO ('2027-02-01')"
CHANGES = {
    "comes": (COMES, "public.event_3 was added"),
    "goes": ("ALTER TABLE event DETACH PARTITION event_1", "public.event_1 was removed"),
    "below an inner level": ("ALTER TABLE event_2 DETACH PARTITION event_2b", "public.event_2b was removed"),
    "is replaced": (
        "DROP TABLE event_1; CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "public.event_1 was replaced or moved",
    ),
}


@pytest.mark.representatives("adoption-is replaced-0")
@pytest.mark.parametrize("stop", ["0", "1"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("marker", "note"), [(BUILDS, "Nothing was built."), (ADOPTION, "Nothing was adopted.")], ids=["builds", "adoption"]
)
def test_script_stops_if_partitions_change(script, sql, psql, marker, note, change, stop):
    """The script names the partition and adopts nothing, with any setting of psql; executed again, it completes."""
    text = script(f"{CLEAN}\n{CONSTRAINT}")
    statement, described = CHANGES[change]
    done = psql(before(text, marker, statement), stop=stop)
    problem = (
        f"the partitions of event have changed since this script began: {described}. {note} Execute this script again"
    )
    assert problem in done.stderr
    assert [("0001",)] == sql("SELECT version_num FROM alembic_version")
    assert [(0,)] == sql("SELECT count(*) FROM pg_constraint WHERE conname LIKE 'event_key%'")
    again = psql(text)
    assert (0, [("0002",)]) == (again.returncode, sql("SELECT version_num FROM alembic_version")), again.stderr
    assert [(0,)] == sql(GROUPS)
    assert [("enforced",)] == sql("SELECT state FROM dupe_audit.run")


def test_partition_after_the_levels_has_the_constraint_from_its_creation(script, sql, psql):
    """A partition that comes while leaves are adopted does not stop the script, and is enforced."""
    sql(
        "CREATE FUNCTION comes() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF to_regclass('event_3') IS NULL "
        f"AND EXISTS (SELECT FROM pg_constraint WHERE conname = 'event_key') THEN {COMES}; END IF; END $$;"
        "CREATE EVENT TRIGGER comes ON ddl_command_end WHEN TAG IN ('ALTER INDEX') EXECUTE FUNCTION comes()"
    )
    done = psql(script(f"{CLEAN}\n{CONSTRAINT}"))
    assert (0, [("0002",)]) == (done.returncode, sql("SELECT version_num FROM alembic_version")), done.stderr
    assert [(True,)] == sql(
        "SELECT indisvalid FROM pg_index WHERE indrelid = 'event_3'::regclass AND indisunique AND NOT indisprimary"
    )


@pytest.mark.thorough
def test_script_cleans_again_what_arrives_before_a_build(script, sql, psql):
    """A duplicate in one leaf fails its build alone; the script archives it under the same run and builds again."""
    text = script(f"{CLEAN}\n{CONSTRAINT}")
    arrival = "INSERT INTO event SELECT 900 + n, '2026-01-20', 7 FROM generate_series(1, 2) AS n"
    done = psql(before(text, "-- build 1 of", arrival))
    assert "could not create unique index" in done.stderr
    assert (0, [("enforced", 131)]) == (done.returncode, sql("SELECT state, archived FROM dupe_audit.run")), done.stderr


@pytest.mark.representatives("0")
@pytest.mark.parametrize("stop", ["0", "1"])
def test_script_without_a_cleanup_stops_at_duplicates(script, sql, psql, stop):
    """Nothing is adopted, no unfinished index stays, and the version is not stamped."""
    done = psql(script(CONSTRAINT), stop=stop)
    assert "the indexes of some partitions could not be built (partitions: 4, the first: public.event_1)" in done.stderr
    assert [("0001", 200)] == sql("SELECT version_num, (SELECT count(*) FROM event) FROM alembic_version")
    assert [(0,)] == sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'event_key%'")


REFUSED = {
    "a key without a partition column": ("", '["kind"]', "partition-key-not-covered: public.event, day"),
    "a pending detach": (
        "UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 'event_1'::regclass",
        '["day", "kind"]',
        "detach-pending: public.event_1",
    ),
}


@pytest.mark.parametrize("first", ["archive_duplicates", "create_unique_constraint_online"])
@pytest.mark.parametrize("case", REFUSED)
def test_script_refuses_what_the_upgrade_refuses(script, sql, psql, case, first):
    """A finding from the catalog stops the script before the first row is archived and before the first build."""
    statement, key, problem = REFUSED[case]
    create = f'op.create_unique_constraint_online("event_key", "event", {key})'
    text = script(f'op.archive_duplicates("event", {key})\n{create}' if first == "archive_duplicates" else create)
    if statement:
        sql(statement)
    done = psql(text)
    assert (3, True) == (done.returncode, problem in done.stderr), done.stderr
    assert [(0,)] == sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'event_key%' OR relname = 'archive_1'")


def test_script_of_a_tree_refuses_divergent_leaves_before_it_archives(script, sql, psql):
    """All leaves are judged first, so one that the rule refuses keeps the rows of the others in place too."""
    done = psql(script(f'op.archive_duplicates("event", ["day", "kind"])\n{CONSTRAINT}'))
    assert "divergent-duplicates: rows of public.event_0 " in done.stderr
    assert [(200, 0)] == sql("SELECT (SELECT count(*) FROM event), archived FROM dupe_audit.run")


def test_script_for_a_tree_refuses_a_plain_table(small_project, sql, psql):
    """A script that was printed for a partitioned table stops on any other table, and says how to print it."""
    sql("CREATE TABLE event (id int PRIMARY KEY, day date, kind int)")
    small_project.revision("0002", "0001", CLEAN)
    assert small_project.run("upgrade", "0001")[0] == 0
    done = psql(small_project.script(*SCRIPT))
    assert "partitioned-table: event is not partitioned, but this script was printed with " in done.stderr
    assert "-x dupe_audit.partitioned=event; print it again without the option." in done.stderr
    assert [(None,)] == sql("SELECT to_regnamespace('dupe_audit')::text")


@pytest.mark.parametrize(
    ("up", "down", "command", "reason"),
    [
        (
            'op.amend_duplicates("event", ["day", "kind"], {"kind": None})',
            "pass",
            "upgrade",
            "change rows that stay in it",
        ),
        (
            'op.archive_duplicates("event", ["day", "kind"], merge={"kind": "sum"})',
            "pass",
            "upgrade",
            "change rows that stay in it",
        ),
        (DROP_CONSTRAINT, CONSTRAINT, "downgrade", "create its constraint or index again"),
    ],
    ids=["amend", "merge", "re-create"],
)
def test_script_that_cannot_be_printed_for_a_tree(small_project, up, down, command, reason):
    """A directive that a script cannot execute on a partitioned table is refused when the script is printed."""
    small_project.revision("0002", "0001", up, down)
    span = "0001:0002" if command == "upgrade" else "0002:0001"
    code, output = small_project.run("-x", "dupe_audit.partitioned=event", command, span, "--sql")
    assert 1 <= code
    assert f"A script for a partitioned table cannot {reason}" in output


@pytest.mark.thorough
def test_locked_leaf_is_named_and_the_others_are_adopted(script, sql, psql, conn):
    """A transaction that reads a leaf delays the adoption of that leaf alone; executed again, the script completes."""
    text = script(f'{CLEAN}\n{CONSTRAINT[:-1]}, lock_timeout="100ms", give_up_after="1s")')
    conn.exec_driver_sql("BEGIN")
    conn.exec_driver_sql("SELECT FROM event_1")
    pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    done = psql(text)
    conn.exec_driver_sql("ROLLBACK")
    assert 3 == done.returncode
    assert "partitions stayed locked for 00:00:01: public.event_1. The others are adopted. Locks on " in done.stderr
    assert f"public.event_1 are held by pid {pid}." in done.stderr
    assert [(3,)] == sql(ATTACHED)
    again = psql(text)
    assert (0, [("0002",)]) == (again.returncode, sql("SELECT version_num FROM alembic_version")), again.stderr
    assert [(5,)] == sql(ATTACHED)


@pytest.mark.thorough
def test_children_follow_the_survivors_of_a_tree(small_project, script, sql, psql):
    """With references="repoint", children follow survivors in every leaf, and return with the downgrade's script."""
    sql_text = (
        f'op.archive_duplicates("event", ["day", "kind"], divergent="archive", references="repoint")\n{CONSTRAINT}'
    )
    text = script(sql_text, f"{DROP_CONSTRAINT}\n{RESTORE}")
    sql(
        "CREATE TABLE child (id int PRIMARY KEY, event int, day date, FOREIGN KEY (event, day) REFERENCES event);"
        "CREATE INDEX ON child (event, day);"
        "INSERT INTO child SELECT id, id, day FROM event WHERE id % 3 = 0"
    )
    children, rows = sql("SELECT * FROM child ORDER BY id"), sql(ROWS)
    done = psql(text)
    assert (0, [("enforced", 130)]) == (done.returncode, sql("SELECT state, archived FROM dupe_audit.run")), done.stderr
    assert children != sql("SELECT * FROM child ORDER BY id")
    down = psql(small_project.script("downgrade", "0002:0001"))
    assert 0 == down.returncode, down.stderr
    assert (children, rows) == (sql("SELECT * FROM child ORDER BY id"), sql(ROWS))


@pytest.mark.thorough
def test_index_with_an_expression_on_a_tree(script, small_project, sql, psql):
    """The script builds a partial index over an expression on every leaf, and a failing one shows no value."""
    columns = '["day", sa.text("lower(note)")]'
    create = f'op.create_unique_index_online("event_key", "event", {columns}, where="kind > 0")'
    text = script(f'op.archive_duplicates("event", {columns}, where="kind > 0", divergent="archive")\n{create}')
    done = psql(text)
    assert (0, [("enforced",)]) == (done.returncode, sql("SELECT state FROM dupe_audit.run")), done.stderr
    code, output = small_project.run("verify", program="dupe_audit.cli")
    assert code == 0, output


TAKEN = {
    "an invalid index": (
        """DELETE FROM event; CREATE UNIQUE INDEX {name} ON event_1 (day, kind);
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{name}'::regclass""",
        "invalid-index: index {name} (table event_1) is invalid, and the ledger has no record of a build of it",
    ),
    "another definition": (
        "CREATE UNIQUE INDEX {name} ON event_1 (day, id)",
        "wrong-definition: {name} (table event_1) already exists with another definition",
    ),
    "a deferrable constraint": (
        "DELETE FROM event; ALTER TABLE event_1 ADD CONSTRAINT {name} UNIQUE (day, kind) DEFERRABLE",
        "wrong-definition: {name} (table event_1) already exists with another definition",
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize("case", TAKEN)
def test_script_adopts_no_index_of_a_leaf_by_its_name(script, sql, psql, case):
    """An object with the name of a leaf's index stops the script before the first build, unless the leaf needs it."""
    text = script(f"{CLEAN}\n{CONSTRAINT}")
    name = sql("SELECT 'event_key_' || 'event_1'::regclass::oid::text")[0][0]
    statement, problem = (each.format(name=name) for each in TAKEN[case])
    for each in statement.split(";"):
        sql(each)
    done = psql(text)
    assert (3, True) == (done.returncode, problem.format(name=name) in done.stderr), done.stderr
    assert [(name,)] == sql("SELECT relname FROM pg_class WHERE relname LIKE 'event_key%'")


@pytest.mark.thorough
def test_finished_index_of_a_leaf_is_adopted(script, sql, psql):
    """A valid index with the definition that a leaf needs is not built again."""
    text = script(f"{CLEAN}\n{CONSTRAINT}")
    sql("DELETE FROM event e USING event f WHERE (e.day, e.kind) = (f.day, f.kind) AND e.id > f.id")
    name = sql("SELECT 'event_key_' || 'event_1'::regclass::oid::text")[0][0]
    sql(f"CREATE UNIQUE INDEX {name} ON event_1 (day, kind)")
    file = sql(f"SELECT pg_relation_filenode('{name}')")
    done = psql(text)
    assert 0 == done.returncode, done.stderr
    assert file == sql(f"SELECT pg_relation_filenode('{name}')")


def ended(start):
    """Return the beginning of a script, with the ends of its conditions."""
    return start + "\\endif\n" * (len(re.findall(r"(?m)^\\if ", start)) - len(re.findall(r"(?m)^\\endif", start)))


@pytest.mark.thorough
@pytest.mark.parametrize("every", [1, 3])
def test_script_that_ended_anywhere_continues(script, sql, psql, every):
    """Cut off after one statement after the other, the script continues each time, and archives nothing twice."""
    text = script(f"{CLEAN}\n{CONSTRAINT}")
    lines = text.splitlines(keepends=True)
    acting = [
        n for n, line in enumerate(lines) if line.startswith("CALL pg_temp.") or line.rstrip().endswith("\\gexec")
    ]
    assert len(acting) > 8
    for cut in acting[::every]:
        done = psql(ended("".join(lines[: cut + 1])))
        assert 0 == done.returncode, done.stderr
    assert [("0001",)] == sql("SELECT version_num FROM alembic_version")
    done = psql(text)
    assert (0, [("enforced", 130)]) == (done.returncode, sql("SELECT state, archived FROM dupe_audit.run")), done.stderr
    assert [(0,)] == sql(GROUPS)


@pytest.mark.thorough
def test_script_of_the_same_tree_in_two_schemas(small_project, sql, psql):
    """One script cleans and enforces several partitioned tables, each with its own leaves, run and archive."""
    for schema in ("a", "b"):
        sql(f"CREATE SCHEMA {schema}; SET search_path = {schema}; {TREE}; RESET search_path")
    clean = f'{CLEAN[:-1]}, schemas=["a", "b"])'
    small_project.revision("0002", "0001", f'{clean}\n{CONSTRAINT[:-1]}, schemas=["a", "b"])')
    assert small_project.run("upgrade", "0001")[0] == 0
    done = psql(small_project.script(*SCRIPT))
    assert 0 == done.returncode, done.stderr
    runs = "SELECT schema_name, state, archived FROM dupe_audit.run ORDER BY 1"
    assert [("a", "enforced", 130), ("b", "enforced", 130)] == sql(runs)
    assert [(10,)] == sql(ATTACHED)
    leaves = "SELECT split_part(dupe_audit_leaf, '.', 1) FROM dupe_audit.archive_{} GROUP BY 1"
    assert [[("a",)], [("b",)]] == [sql(leaves.format(run)) for run in (1, 2)]
