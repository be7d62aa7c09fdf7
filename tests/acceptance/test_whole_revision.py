"""The directives of a revision are judged together, before the first of them changes anything."""

import re
import signal

import pytest

from waiting import PATIENCE, wait_for

TABLE = "CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 1), (2, 1), (3, 2)"

CLEAN = "op.archive_duplicates('t', ['k'])"
ENFORCE = "op.create_unique_constraint_online('uq', 't', ['k'])"
DROP = "op.drop_unique_constraint_online('uq', 't')"
RESTORE = "op.restore_duplicates('t', ['k'])"


@pytest.fixture
def project(small_project):
    """A project of one empty revision, 0001."""
    return small_project


def rows(sql):
    return sql("SELECT count(*) FROM t")


LATER = {
    "long name": (f"op.create_unique_constraint_online('{'x' * 70}', 't', ['k'])", "longer than 63 bytes"),
    "parsecs": ("op.create_unique_constraint_online('uq', 't', ['k'], lock_timeout='5 parsecs')", "lock_timeout: "),
    "number": ("op.create_unique_constraint_online('uq', 't', ['k'], lock_timeout=500)", "lock_timeout must be text"),
    "no builds": ("op.create_unique_constraint_online('uq', 't', ['k'], build_attempts=0)", "build_attempts must be"),
    "no name": ("op.create_unique_constraint_online(None, 't', ['k'])", "None is not a valid constraint name"),
    "no columns": ("op.create_unique_constraint_online('uq', 't', None)", "columns must be a list of column names"),
    "option": ("op.create_unique_constraint_online('uq', 't', ['k'], lock_timout='1s')", "unexpected keyword argument"),
    "initially": ("op.create_unique_constraint_online('uq', 't', ['k'], initially='LATER')", "initially must be"),
    "boolean": (
        "op.create_unique_constraint_online('uq', 't', ['k'], nulls_not_distinct='no')",
        "must be True or False",
    ),
    "table object": (
        "op.create_unique_index_online('uq', sa.table('t'), ['k'])",
        "table must be a name, not TableClause (t)",
    ),
    "order of names": (
        "op.create_unique_index_online('uq', [sa.text('k')], 't')",
        "table must be a name, not [TextClause (k)]",
    ),
    "by position": (
        "op.create_unique_index_online('uq', 't', ['k'], 'v > 0')",
        "Pass everything after columns by name",
    ),
    "Alembic's name": ("op.create_unique_index_online('uq', 't', ['k'], postgresql_where='v > 0')", "write where"),
    "unique": ("op.create_unique_index_online('uq', 't', ['k'], unique=True)", "leave unique out"),
    "parameter": ("op.create_unique_index_online('uq', 't', [sa.func.lower(sa.bindparam('x'))])", "bound parameter :x"),
    "parameter in where": (
        "op.create_unique_index_online('uq', 't', ['k'], where=sa.and_(sa.true(), sa.text('v = :x')))",
        "where has the bound parameter :x",
    ),
    "Python's is": ("op.create_unique_index_online('uq', 't', ['k'], where='v' is None)", "Python itself evaluated"),
    "another order of words": (
        "op.create_unique_online_index('uq', 't', ['k'])",
        "Did you mean op.create_unique_index_online",
    ),
    "directive": (
        "op.create_unique_constraint_onlin('uq', 't', ['k'])",
        "Did you mean op.create_unique_constraint_online",
    ),
    "name": ("op.create_unique_constraint_online(uq, 't', ['k'])", "NameError"),
    "batch": ("op.archive_duplicates('u', ['k'], batch_size='5000')", "batch_size must be a whole number"),
    "order": (
        "op.archive_duplicates('u', ['k'], order_by='id DESC')",
        "'id DESC', a name of a column with a direction",
    ),
}


@pytest.mark.parametrize(("directive", "reason"), LATER.values(), ids=LATER)
@pytest.mark.representatives("no columns", "option", "table object", "directive", "name")
def test_wrong_arguments_are_refused_before_the_first_row_moves(sql, project, directive, reason):
    """A wrong argument of a later directive ends in one paragraph with exit code 255, and nothing has moved."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{directive}")
    code, output = project.run("upgrade", "head")
    assert (255, [(3,)]) == (code, rows(sql)), output
    assert "FAILED: Refused: revision 0002. No row was changed." in output
    assert f"{reason}" in output
    assert "(0002.py, line 10)" in output
    assert [(None,)] == sql("SELECT to_regclass('dupe_audit.run')")


@pytest.mark.parametrize("case", ["option", "directive", "no columns"])
def test_wrong_arguments_of_the_first_directive_end_in_one_paragraph(sql, project, case):
    """A wrong argument of the first directive, which nothing was read before, is no traceback either."""
    sql(TABLE)
    directive, reason = LATER[case]
    project.revision("0002", "0001", f"{directive}\n{CLEAN}")
    code, output = project.run("upgrade", "head")
    assert (255, [(3,)]) == (code, rows(sql)), output
    assert "FAILED: " in output
    assert reason in output
    assert "(0002.py, line 9)" in output


def test_a_downgrade_that_leaves_the_constraint_names_it(sql, project):
    """If the constraint still keeps the rows out, the failure names it and the way on, and that way works."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", RESTORE)
    assert 0 == project.run("upgrade", "head")[0]
    code, output = project.run("downgrade", "-1")
    assert (255, [(2,)]) == (code, rows(sql)), output
    assert "Constraint uq still enforces the key." in output
    assert "let dupe-audit restore 1 do both" in output
    assert 0 == project.run("restore", "1", "--yes", program="dupe_audit.cli")[0]
    assert [(3,)] == rows(sql)


def test_a_mistyped_column_of_a_restore_is_named_by_the_runs(sql, project):
    """A restore of columns that no run has names the keys of the table's runs."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{DROP}\n{RESTORE}")
    assert 0 == project.run("upgrade", "head")[0]
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{DROP}\n{RESTORE.replace('k', 'kk')}")
    code, output = project.run("downgrade", "-1")
    assert (255, [(2,)]) == (code, rows(sql)), output
    assert "The runs of public.t are of other keys: (k). Check the columns" in output


CREATE = "op.create_unique_constraint_online('uq', 't', ['k'])"
BLOCKED = {
    "column": ("op.create_unique_constraint_online('uq', 't', ['kk'])", "", "[column-missing]"),
    "table": ("op.create_unique_constraint_online('uq', 'tt', ['k'])", "", "[table-missing]"),
    "schema": ("op.create_unique_constraint_online('uq', 't', ['k'], schema='app')", "", "[table-missing]"),
    "include": ("op.create_unique_constraint_online('uq', 't', ['k'], include=['nope'])", "", "[column-missing]"),
    "width": (
        "op.create_unique_constraint_online('uq', 't', ['k'], include=['wide'])",
        (
            "ALTER TABLE t ADD COLUMN wide text; UPDATE t SET wide = (SELECT string_agg(md5(i::text), '') "
            "FROM generate_series(1, 400) AS i)"
        ),
        "[key-too-wide]",
    ),
    "name of a table": (CREATE, "CREATE TABLE uq (i int)", "[name-taken]"),
    "name of a view": (CREATE, "CREATE VIEW uq AS SELECT 1 AS i", "[name-taken]"),
    "name of a sequence": (CREATE, "CREATE SEQUENCE uq", "[name-taken]"),
    "name of a type": (CREATE, "CREATE TYPE uq AS (i int)", "[name-taken]"),
    "name of an index": (CREATE, "CREATE TABLE u (i int); CREATE INDEX uq ON u (i)", "[name-taken]"),
    "other definition": (CREATE, "CREATE UNIQUE INDEX uq ON t (k, id)", "[wrong-definition]"),
    "leftover": (
        CREATE,
        (
            "CREATE INDEX uq ON t (k); UPDATE pg_index SET indisunique = true, indisvalid = false "
            "WHERE indexrelid = 'uq'::regclass"
        ),
        "[invalid-index]",
    ),
    "an index to drop": (
        "op.drop_unique_constraint_online('ix', 't')",
        "CREATE UNIQUE INDEX ix ON t (id)",
        "[not-a-constraint]",
    ),
    "a check to drop": (
        "op.drop_unique_constraint_online('ch', 't')",
        "ALTER TABLE t ADD CONSTRAINT ch CHECK (k > 0)",
        "[not-a-constraint]",
    ),
    "a key in use": (
        "op.drop_unique_constraint_online('old', 't')",
        (
            "ALTER TABLE t ADD CONSTRAINT old UNIQUE (id); CREATE TABLE c (t int REFERENCES t (id));"
            "ALTER TABLE c DROP CONSTRAINT c_t_fkey; ALTER TABLE t DROP CONSTRAINT t_pkey CASCADE;"
            "ALTER TABLE c ADD FOREIGN KEY (t) REFERENCES t (id)"
        ),
        "[constraint-in-use]",
    ),
    "a replica identity": (
        "op.drop_unique_constraint_online('old', 't')",
        (
            "ALTER TABLE t ADD CONSTRAINT old UNIQUE (id);"
            "ALTER TABLE t REPLICA IDENTITY USING INDEX old; CREATE PUBLICATION p FOR TABLE t"
        ),
        "[constraint-in-use]",
    ),
    "divergent rows of another table": (
        "op.archive_duplicates('u', ['k'])",
        "CREATE TABLE u (id int PRIMARY KEY, k int, v int); INSERT INTO u VALUES (1, 1, 1), (2, 1, 2)",
        "[divergent-duplicates]",
    ),
    "duplicates of another table": (
        "op.create_unique_constraint_online('uq_u', 'u', ['k'])",
        "CREATE TABLE u (id int PRIMARY KEY, k int); INSERT INTO u VALUES (1, 1), (2, 1)",
        "[duplicates]",
    ),
}


@pytest.mark.parametrize(("directive", "before", "reason"), BLOCKED.values(), ids=BLOCKED)
@pytest.mark.representatives("column", "name of a type")
def test_whatever_refuses_a_later_directive_is_found_before_the_first_row_moves(
    sql, project, directive, before, reason
):
    """A reason in the database against a later directive stops the first one; the message names the revision."""
    sql(TABLE)
    if before:
        sql(before)
    project.revision("0002", "0001", f"{CLEAN}\n{directive}")
    code, output = project.run("upgrade", "head")
    assert (255, [(3,)]) == (code, rows(sql)), output
    assert reason in output
    assert "revision 0002. No row was changed." in output
    assert [(None,)] == sql("SELECT to_regclass('dupe_audit.run')")


def test_all_reasons_of_all_directives_are_given_at_once(sql, project):
    """One refusal names every table, key and reason, so that nobody corrects a revision five times."""
    sql(f"{TABLE}; CREATE TABLE u (id int PRIMARY KEY, k int); CREATE TABLE uq (i int)")
    lines = [CLEAN, ENFORCE, "op.create_unique_constraint_online('uq_u', 'u', ['kk'])"]
    project.revision("0002", "0001", "\n".join(lines))
    code, output = project.run("upgrade", "head")
    assert (255, [(3,)]) == (code, rows(sql))
    assert "Refused: revision 0002. No row was changed." in output
    assert "public.t (k), op.create_unique_constraint_online(): [name-taken]" in output
    assert "public.u (kk), op.create_unique_constraint_online(): [column-missing]" in output


def test_all_wrong_arguments_are_given_at_once(sql, project):
    """Wrong arguments of several directives are found in one reading, each with its file and line."""
    sql(TABLE)
    lines = [CLEAN, "op.archive_duplicates('u', ['k'], pause=-1)", "op.drop_unique_constraint_online('', 'u')"]
    project.revision("0002", "0001", "\n".join(lines))
    code, output = project.run("upgrade", "head")
    assert (255, [(3,)]) == (code, rows(sql))
    assert "pause must be a number of seconds, 0 or more, not -1 (0002.py, line 10)" in output
    assert (
        "'' is not a valid constraint name. Give the name as it is in the catalog, without quotes (0002.py, line 11)"
        in output
    )


def test_wrong_arguments_stop_a_script_before_its_first_line(sql, project):
    """Offline, the arguments of all directives are judged before any SQL of the revision is written."""
    project.revision("0002", "0001", f"{CLEAN}\nop.create_unique_constraint_online('uq', 't', ['k'], build_attempts=0)")
    code, output = project.run("upgrade", "0001:0002", "--sql")
    assert 255 == code
    assert "build_attempts must be at least 1" in output
    assert "dupe_audit" not in output


def test_downgrade_is_judged_as_a_whole(sql, project):
    """The constraint is not dropped if the restore after it would be refused."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{DROP}\n{RESTORE}")
    assert 0 == project.run("upgrade", "head")[0]
    sql("DROP TABLE dupe_audit.archive_1")
    code, output = project.run("downgrade", "0001")
    assert 255 == code
    assert "[archive-missing]" in output
    assert [(1,)] == sql("SELECT count(*) FROM pg_constraint WHERE conname = 'uq'")


def test_a_missing_constraint_to_drop_is_a_warning(sql, project):
    """A name that does not exist is reported, and the downgrade continues, as it must after a kill."""
    sql(TABLE)
    project.revision("0002", "0001", CLEAN, f"op.drop_unique_constraint_online('uqq', 't')\n{RESTORE}")
    assert 0 == project.run("upgrade", "head")[0]
    code, output = project.run("downgrade", "0001")
    assert (0, [(3,)]) == (code, rows(sql))
    assert "constraint uqq on public.t does not exist" in output


@pytest.mark.parametrize(
    "statement",
    [
        "op.add_column('t', sa.Column('extra', sa.Integer))",
        "op.execute('ALTER TABLE t ADD COLUMN extra int')",
        "op.get_bind().execute(sa.text('ALTER TABLE t ADD COLUMN extra int'))",
    ],
)
@pytest.mark.representatives("op.execute('ALTER TABLE t ADD COLUMN extra int')")
def test_what_a_statement_in_between_makes_right_is_not_refused(sql, project, statement):
    """A column that the revision adds between two directives can be included by the second one."""
    sql(TABLE)
    create = "op.create_unique_constraint_online('uq', 't', ['k'], include=['extra'])"
    project.revision("0002", "0001", f"{CLEAN}\n{statement}\n{create}")
    code, output = project.run("upgrade", "head")
    assert (0, [(2,)]) == (code, rows(sql)), output
    assert "t (k) is judged when it is executed: a statement before it can change what it needs" in output


def test_a_name_that_a_statement_in_between_frees_is_not_refused(sql, project):
    """An index of another table that the revision drops between two directives does not take the name."""
    sql(f"{TABLE}; CREATE TABLE u (i int); CREATE INDEX uq ON u (i)")
    project.revision("0002", "0001", f"{CLEAN}\nop.drop_index('uq', table_name='u')\n{ENFORCE}")
    code, output = project.run("upgrade", "head")
    assert (0, [(2,)]) == (code, rows(sql)), output


def test_a_harmless_statement_in_between_hides_nothing(sql, project):
    """A timeout or an UPDATE between two directives does not keep the second one from being judged."""
    sql(TABLE)
    lines = [CLEAN, "op.execute(\"SET lock_timeout = '1s'\")", "op.execute('UPDATE t SET k = k')"]
    project.revision("0002", "0001", "\n".join([*lines, "op.create_unique_constraint_online('uq', 't', ['kk'])"]))
    code, output = project.run("upgrade", "head")
    assert (255, [(3,)]) == (code, rows(sql))
    assert "[column-missing]" in output


READS = "if op.get_bind().execute(sa.text('SELECT count(*) FROM t')).scalar():\n    "


def test_a_revision_that_reads_data_says_so(sql, project):
    """Where a revision needs an answer of the database, the log names the line, and what precedes it is judged."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{READS}{ENFORCE}")
    code, output = project.run("upgrade", "head")
    assert (0, [(2,)]) == (code, rows(sql)), output
    assert "revision 0002 cannot be read to its end without a database" in output
    assert "(0002.py, line 10)" in output


CHOICES = {
    "by the mode": "if not op.get_context().as_sql:\n    ",
    "by a result": "rows = op.get_bind().execute(sa.text('SELECT 1'))\nif rows:\n    ",
    "by a column": "if 'k' in [column['name'] for column in sa.inspect(op.get_bind()).get_columns('t')]:\n    ",
}


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
@pytest.mark.representatives("by a result")
def test_a_revision_that_chooses_its_directives_is_not_refused_falsely(sql, project, choice):
    """A cleanup that the reading does not meet is executed, so the create after it is not refused for duplicates."""
    sql(TABLE)
    project.revision("0002", "0001", f"{choice}{CLEAN}\n{ENFORCE}")
    code, output = project.run("upgrade", "head")
    assert (0, [(2,)]) == (code, rows(sql)), output


def test_a_failure_after_a_commit_names_the_run_and_both_ways_on(sql, project):
    """The message names table, key and run, how to continue and to undo, and warns against alembic downgrade."""
    sql(f"{TABLE}; CREATE TABLE application (i int)")
    later = "op.create_unique_constraint_online('uq', 't', ['kk'])"
    project.revision("0002", "0001", f"{CLEAN}\n{READS}{later}", f"{DROP}\n{RESTORE}")
    code, output = project.run("upgrade", "head")
    assert (255, [(2,)]) == (code, rows(sql))
    assert "[column-missing]" in output
    assert "revision 0002" in output
    assert "run 1 has archived 1 row of public.t (k)" in output
    assert "No row was changed" not in output
    assert "run the same command again" in output
    assert "dupe-audit restore 1" in output
    assert "Do not run alembic downgrade: revision 0002 was not stamped" in output

    # A killed client leaves nothing in this process: the ledger says the same.
    code, output = project.run("upgrade", "head")
    assert 255 == code
    assert "run 1 has archived 1 row of public.t (k)" in output

    assert 0 == project.run("restore", "1", "--yes", program="dupe_audit.cli")[0]
    assert [(3,)] == rows(sql)
    assert [("application",)] == sql("SELECT to_regclass('application')::text")


LATER_FAILURES = {
    "statement": "op.execute('SELECT 1/0')",
    "line of Python": "op.get_bind(); [][1]",
}


@pytest.mark.parametrize("failure", LATER_FAILURES.values(), ids=LATER_FAILURES)
@pytest.mark.representatives("line of Python")
def test_a_failure_that_is_not_ours_after_a_directive_is_accounted_for_too(sql, project, failure):
    """What fails after the directives of a revision is followed by the runs, both ways on, and the warning."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}\n{failure}", f"{DROP}\n{RESTORE}")
    for _ in ("the first time", "in an attempt that has nothing left to move"):
        process, log = project.start("upgrade", "head")
        assert 0 != process.wait(PATIENCE)
        output = " ".join(log.read_text().split())
        assert 1 == output.count("run 1 has archived 1 row of t (k) and enforces t (k) as uq"), output
        assert "To undo it: dupe-audit restore 1, which drops the constraint" in output
        assert "Do not run alembic downgrade: revision 0002 was not stamped" in output
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{DROP}\n{RESTORE}")
    assert (0, [(2,)]) == (project.run("upgrade", "head")[0], rows(sql))
    code, output = project.run("downgrade", "0001")
    assert (0, [(3,)]) == (code, rows(sql))
    assert "What was committed" not in output


def test_a_stamp_that_a_later_revision_takes_back_is_accounted_for(sql, project):
    """If a later revision fails in the transaction of the stamp, the message says that the revision is not stamped."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}")
    project.revision("0003", "0002", "op.execute('SELECT 1/0')")
    process, log = project.start("upgrade", "head")
    assert 0 != process.wait(PATIENCE)
    assert [("0001",)] == sql("SELECT version_num FROM alembic_version")
    assert "Do not run alembic downgrade: revision 0002 was not stamped" in " ".join(log.read_text().split())


@pytest.mark.thorough
def test_a_failure_after_a_constraint_without_duplicates_is_accounted_for(sql, project):
    """A constraint on a table that had no duplicates is committed too, so the next failure names its run."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int)")
    later = "op.create_unique_constraint_online('uq_2', 't', ['kk'])"
    unreadable = "if op.get_bind().scalar(sa.text('SELECT true')):\n    "
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}\n{unreadable}{later}", f"{DROP}\n{RESTORE}")
    for _ in ("the first time", "in another process"):
        code, output = project.run("upgrade", "head")
        assert 255 == code
        assert "run 1 enforces public.t (k) as uq" in output
        assert "dupe-audit restore 1" in output
        assert "Do not run alembic downgrade" in output
    assert 0 == project.run("restore", "1", "--yes", program="dupe_audit.cli")[0]
    assert [] == sql("SELECT 1 FROM pg_constraint WHERE conname = 'uq'")


def test_wrong_arguments_after_a_commit_do_not_say_that_nothing_changed(sql, project):
    """A revision edited after a killed attempt is refused with the run that the attempt has left."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{READS}op.create_unique_constraint_online('uq', 't', ['kk'])")
    assert 255 == project.run("upgrade", "head")[0]
    project.revision("0002", "0001", f"{CLEAN}\nop.create_unique_constraint_online('uq', 't', ['k'], build_attempts=0)")
    code, output = project.run("upgrade", "head")
    assert 255 == code
    assert "No row was changed" not in output
    assert "dupe-audit restore 1" in output
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}")
    assert (0, [(2,)]) == (project.run("upgrade", "head")[0], rows(sql))


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("accept=nonsense", "'nonsense' is not the id of a finding. Those that can be accepted: "),
        ("work_mem=lots", "the value must be a size"),
        ("maintenance_work_mem=1XB", "the value must be a size"),
        ("max_parallel_maintenance_workers=many", "the value must be a whole number"),
        ("pause=nan", "pause must be a finite number"),
        ("batch_size=0", "batch_size must be between 1 and 100,000"),
        ("batchsize=1", "does not exist"),
        ("work_mem=1kB", "work_mem"),
    ],
)
@pytest.mark.representatives("accept=nonsense*", "work_mem=lots*", "batchsize=1*")
def test_options_of_the_command_line_are_judged_before_anything_acts(sql, project, option, reason):
    """A wrong -x option is refused whichever directive reads it, and nothing has moved."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}")
    code, output = project.run("-x", f"dupe_audit.{option}", "upgrade", "head")
    assert (255, [(3,)]) == (code, rows(sql)), output
    assert reason in output
    assert [(None,)] == sql("SELECT to_regclass('dupe_audit.run')")


def test_the_upgrade_logs_the_warnings_of_preflight_once(sql, project):
    """A warning of preflight is in the log of the upgrade, once, although two directives cause it."""
    sql(f"{TABLE}; CREATE PUBLICATION changes FOR TABLE t")
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}")
    code, output = project.run("upgrade", "head")
    assert 0 == code, output
    assert 1 == output.count("[published-table]")


@pytest.mark.parametrize("down", [DROP, RESTORE, f"{DROP}\n{RESTORE}"])
@pytest.mark.thorough
def test_a_rule_belongs_to_its_revision(sql, project, psql, down):
    """Without archive_duplicates in the revision nothing is archived, whatever the rule of an earlier run."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int); INSERT INTO t VALUES (1, 1, 1), (2, 1, 2), (3, 2, 3)")
    clean = "op.archive_duplicates('t', ['k'], divergent='archive')"
    project.revision("0002", "0001", f"{clean}\n{ENFORCE}", down)
    assert 0 == project.run("upgrade", "head")[0]
    if down == RESTORE:
        sql("ALTER TABLE t DROP CONSTRAINT uq")
    assert 0 == project.run("downgrade", "0001")[0]
    if down == DROP:
        sql("INSERT INTO t VALUES (4, 1, 4)")
    before = rows(sql)
    project.revision("0002", "0001", ENFORCE)
    code, output = project.run("upgrade", "head")
    assert (255, before) == (code, rows(sql)), output
    assert "[duplicates]" in output
    done = psql(project.script("upgrade", "0001:0002"))
    assert (3, before) == (done.returncode, rows(sql)), done.stderr
    assert [("0001",)] == sql("SELECT version_num FROM alembic_version")


@pytest.mark.parametrize("stop", ["0", "1"])
@pytest.mark.representatives("1")
def test_script_of_a_failed_restore_stamps_nothing(sql, project, psql, stop):
    """If rows cannot go back, the script of the downgrade keeps the version, even if psql continues after errors."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{DROP}\n{RESTORE}")
    assert 0 == project.run("upgrade", "head")[0]
    script = project.script("downgrade", "0002:0001")
    sql("UPDATE t SET id = 2 WHERE id = 3")  # the id of the archived row

    done = psql(script, stop=stop)
    assert "rows-not-restored" in done.stderr
    assert [("0002",)] == sql("SELECT version_num FROM alembic_version")

    sql("UPDATE t SET id = 3 WHERE id = 2")
    assert 0 == psql(script).returncode
    assert ([("0001",)], [(3,)]) == (sql("SELECT version_num FROM alembic_version"), rows(sql))


IMPOSSIBLE = {
    "column": ("'uq', 't', ['kk']", "column-missing", "ALTER TABLE t ADD kk int"),
    "include": ("'uq', 't', ['k'], include=['nope']", "column-missing", "ALTER TABLE t ADD nope int"),
    "table": ("'uq', 'tt', ['k']", "table-missing", "CREATE TABLE tt (k int)"),
    "name": ("'taken', 't', ['k']", "name-taken", "DROP SEQUENCE taken"),
}


@pytest.mark.parametrize(("arguments", "finding", "cure"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.representatives("include")
def test_script_finds_an_impossible_constraint_before_the_first_row_moves(sql, project, psql, arguments, finding, cure):
    """What forbids a later constraint stops the script before the cleanup, unless a statement between can cure it."""
    sql(f"{TABLE}; CREATE SEQUENCE taken")
    assert 0 == project.run("upgrade", "head")[0]
    later = f"op.create_unique_constraint_online({arguments})"
    project.revision("0002", "0001", f"{CLEAN}\n{later}")
    done = psql(project.script("upgrade", "0001:0002"))
    assert (3, [(3,)]) == (done.returncode, rows(sql)), done.stderr
    assert f"dupe-audit: {finding}" in done.stderr
    assert [(None,)] == sql("SELECT to_regclass('dupe_audit.run')")

    project.revision("0002", "0001", f"{CLEAN}\nop.execute('{cure}')\n{later}")
    done = psql(project.script("upgrade", "0001:0002"))
    assert (0, [(2,)]) == (done.returncode, rows(sql)), done.stderr


U = """
CREATE TABLE u (id int PRIMARY KEY, k text, v int DEFAULT 1 CHECK (v < 9));
INSERT INTO u VALUES (1, 1, 1), (2, 1, 1);
"""
CHILD = U + "CREATE TABLE c (id int PRIMARY KEY, u int REFERENCES u, v int); INSERT INTO c VALUES (1, 1, 1), (2, 2, 1);"
ARCHIVE_U = "op.archive_duplicates('u', ['k'])"
REPOINT_U = "op.archive_duplicates('u', ['k'], references='repoint')"
TRIGGER = "CREATE TRIGGER tr BEFORE UPDATE ON c FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
WIDE = "UPDATE u SET k = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) AS i)"
WRONG_ROWS = {
    "divergent": (f"{U} UPDATE u SET v = id", ARCHIVE_U, "divergent-duplicates: rows of public.u"),
    "referenced": (CHILD, ARCHIVE_U, "foreign-key-references: rows of public.c"),
    "no child to find again": (f"{CHILD} ALTER TABLE c DROP id", REPOINT_U, "cannot-repoint: rows of public.c"),
    "collision": (f"{CHILD} ALTER TABLE c ADD UNIQUE (u, v)", REPOINT_U, "repoint-collision: rows of public.c"),
    "trigger": (CHILD + TRIGGER, REPOINT_U, "child-trigger: tr on public.c"),
    "not insertable": (
        f"{U} ALTER TABLE u ADD CONSTRAINT small CHECK (v < 1) NOT VALID",
        ARCHIVE_U,
        "cannot-restore: extras of public.u",
    ),
    "wide": (
        U + WIDE,
        ARCHIVE_U,
        "key-too-wide: the widest key of table public.u",
    ),
    "not archived": (U, "op.create_unique_constraint_online('uq_u', 'u', ['k'])", "duplicates: table public.u has"),
    "no such order": (U, "op.archive_duplicates('u', ['k'], order_by=['nope'])", "column-missing: "),
    "no such table": (U, "op.archive_duplicates('uu', ['k'])", "table-missing: table uu"),
}


@pytest.mark.parametrize(("before", "later", "problem"), WRONG_ROWS.values(), ids=WRONG_ROWS)
@pytest.mark.representatives("divergent", "referenced", "collision")
def test_script_finds_what_refuses_a_second_table_before_the_first_row_moves(
    sql, project, psql, before, later, problem
):
    """Rows of a second table that its cleanup or build would refuse stop the script before the first is cleaned."""
    sql(f"{TABLE}; {before}")
    assert 0 == project.run("upgrade", "head")[0]
    project.revision("0002", "0001", f"{CLEAN}\n{later}")
    done = psql(project.script("upgrade", "0001:0002"))
    assert (3, [(3,)]) == (done.returncode, rows(sql)), done.stderr
    assert f"dupe-audit: {problem}" in done.stderr
    assert "no directive has changed anything" in done.stderr
    assert [(None,)] == sql("SELECT to_regclass('dupe_audit.run')")


@pytest.mark.thorough
def test_script_leaves_to_their_turn_the_rows_that_something_before_them_changes(sql, project, psql):
    """Neither references of a table that is cleaned first nor rows that a statement corrects stop the script."""
    sql(f"{TABLE}; {U} UPDATE u SET v = id")
    sql("ALTER TABLE t ADD u int REFERENCES u; UPDATE t SET u = 2 WHERE id = 2")
    assert 0 == project.run("upgrade", "head")[0]
    clean = "op.archive_duplicates('t', ['k'], divergent='archive')"
    project.revision("0002", "0001", f"{clean}\nop.execute('UPDATE u SET v = 1')\n{ARCHIVE_U}")
    done = psql(project.script("upgrade", "0001:0002"))
    assert (0, [(2, 1)]) == (done.returncode, sql("SELECT (SELECT count(*) FROM t), count(*) FROM u")), done.stderr


@pytest.mark.thorough
def test_script_of_cleaned_children_leaves_their_references_to_their_turn(sql, project, psql):
    """A reference that the cleanup of the first table removes does not stop the script before it."""
    sql(f"{TABLE}; {U} ALTER TABLE t ADD u int REFERENCES u; UPDATE t SET u = 2 WHERE id = 2")
    assert 0 == project.run("upgrade", "head")[0]
    clean = "op.archive_duplicates('t', ['k'], divergent='archive')"
    project.revision("0002", "0001", f"{clean}\n{ARCHIVE_U}")
    done = psql(project.script("upgrade", "0001:0002"))
    assert (0, [(2, 1)]) == (done.returncode, sql("SELECT (SELECT count(*) FROM t), count(*) FROM u")), done.stderr


def test_script_of_a_downgrade_is_judged_as_a_whole(sql, project, psql):
    """The script does not drop a constraint if the restore of a second table would be refused; corrected, it does."""
    sql(f"{TABLE}; {U}")
    upgrade = f"{CLEAN}\n{ENFORCE}\n{ARCHIVE_U}\nop.create_unique_constraint_online('uq_u', 'u', ['k'])"
    of_u = "op.drop_unique_constraint_online('uq_u', 'u')\nop.restore_duplicates('u', ['k'])"
    project.revision("0002", "0001", upgrade, f"{DROP}\n{RESTORE}\n{of_u}")
    assert 0 == project.run("upgrade", "head")[0]
    sql("ALTER TABLE dupe_audit.archive_2 RENAME TO hidden")
    script = project.script("downgrade", "0002:0001")
    done = psql(script)
    assert (3, True) == (done.returncode, "archive-missing: dupe_audit.archive_2" in done.stderr), done.stderr
    assert [("uq",), ("uq_u",)] == sql("SELECT conname FROM pg_constraint WHERE conname ~ '^uq' ORDER BY 1")
    sql("ALTER TABLE dupe_audit.hidden RENAME TO archive_2")
    sql("UPDATE dupe_audit.run SET adopted_index = 'CREATE UNIQUE INDEX uq_u ON public.u USING btree (k)' WHERE id = 2")
    done = psql(script)
    assert (3, True) == (done.returncode, "uq_u on u has adopted an index" in done.stderr), done.stderr
    assert [("uq",), ("uq_u",)] == sql("SELECT conname FROM pg_constraint WHERE conname ~ '^uq' ORDER BY 1")
    sql("UPDATE dupe_audit.run SET adopted_index = NULL")
    done = psql(script)
    assert (0, [(3, 2)]) == (done.returncode, sql("SELECT (SELECT count(*) FROM t), count(*) FROM u")), done.stderr


@pytest.mark.thorough
def test_a_drop_says_which_rows_stay_archived(sql, project):
    """A revision that drops a key without restoring its rows names the run that keeps them."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{DROP}\n{RESTORE}")
    project.revision("0003", "0002", DROP, f"{CLEAN}\n{ENFORCE}")
    code, output = project.run("upgrade", "head")
    assert 0 == code
    assert "1 row of public.t stays in the archive of run 1" in output
    assert "To restore them now: dupe-audit restore 1" in output
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{DROP}\n{RESTORE[:-1]}, schema='public')")
    code, output = project.run("downgrade", "0001")
    assert (0, [(3,)]) == (code, rows(sql))
    assert "in the archive of run" not in output


BREAKS = {
    "a key that a foreign key needs": ("CREATE TABLE f (k int REFERENCES t (k))", "DROP TABLE f", ""),
    "a statement of the revision": ("SELECT 1", "CREATE TABLE needed ()", "op.execute('DROP TABLE needed')\n"),
}


@pytest.mark.parametrize(("cause", "cure", "first"), BREAKS.values(), ids=BREAKS)
@pytest.mark.thorough
def test_script_whose_first_part_fails_stamps_nothing(sql, project, psql, cause, cure, first):
    """If execution continues after an error of a directive, or of a statement before it, nothing is stamped."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{first}{DROP}\n{RESTORE}")
    assert 0 == project.run("upgrade", "head")[0]
    script = project.script("downgrade", "0002:0001")
    sql(cause)
    done = psql(script.replace("\\set ON_ERROR_STOP on\n", ""), stop="0")
    assert "the version was not stamped" in done.stderr
    assert [("0002",)] == sql("SELECT version_num FROM alembic_version")

    sql(cure)
    assert 0 == psql(script).returncode
    assert ([("0001",)], [(3,)]) == (sql("SELECT version_num FROM alembic_version"), rows(sql))


def test_script_stops_at_what_it_judges_before_its_first_change(sql, project, psql):
    """If a later directive would be refused, the first one changes nothing, whatever psql does after errors."""
    sql(f"{TABLE}; CREATE TABLE u (id int PRIMARY KEY, k int); INSERT INTO u VALUES (1, 1), (2, 1)")
    project.revision("0002", "0001", f"{CLEAN}\nop.create_unique_constraint_online('uq_u', 'u', ['k'])")
    assert 0 == project.run("upgrade", "0001")[0]
    done = psql(project.script("upgrade", "0001:0002"), stop="0")
    assert (3, [(3,)]) == (done.returncode, rows(sql)), done.stderr
    assert "no directive has changed anything" in done.stderr
    assert [(None, "0001")] == sql("SELECT to_regclass('dupe_audit.run'), version_num FROM alembic_version")


def test_script_cleans_between_builds_if_only_one_directive_names_the_schema(project):
    """The cleanup of a key counts for its constraint, whether or not both name the schema public."""
    create = "op.create_unique_constraint_online('uq', 't', ['k'], schema='public')"
    for lines, cleanings in ((f"{CLEAN}\n{create}", 5), (create, 0)):
        project.revision("0002", "0001", lines)
        script = project.script("upgrade", "0001:0002")
        assert cleanings == script.count("\nCALL pg_temp.dupe_audit_clean(")


@pytest.mark.thorough
def test_script_never_drops_an_adopted_index(sql, project, psql):
    """A script cannot build the index again, so it keeps the constraint, even if psql continues after the error."""
    sql(f"{TABLE}; DELETE FROM t WHERE id = 2; CREATE UNIQUE INDEX uq ON t (k)")
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{DROP}\n{RESTORE}")
    assert 0 == project.run("upgrade", "head")[0]
    done = psql(project.script("downgrade", "0002:0001"), stop="0")
    assert "has adopted an index" in done.stderr
    assert [("uq",)] == sql("SELECT conname FROM pg_constraint WHERE conname = 'uq'")
    assert [("0002",)] == sql("SELECT version_num FROM alembic_version")


ENDS = {
    "Ctrl-C": 130,
    "a lost connection": 255,
}


@pytest.mark.parametrize(("end", "code"), ENDS.items(), ids=ENDS)
@pytest.mark.thorough
def test_every_end_in_the_middle_names_the_run(sql, project, psycopg_connect, end, code):
    """Stopped by the user or a lost connection, it reports what was committed, how to continue and how to undo."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 1), (2, 1), (3, 2), (4, 2)")
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}")
    holder = psycopg_connect()
    holder.execute("SELECT FROM t WHERE id = 4 FOR UPDATE")  # spared again and again
    process, log = project.start("-x", "dupe_audit.batch_size=1", "upgrade", "head")
    wait_for(lambda: sql("SELECT to_regclass('dupe_audit.run')") != [(None,)])
    wait_for(lambda: sql("SELECT 1 FROM dupe_audit.run WHERE archived = 1"))
    if end == "Ctrl-C":
        process.send_signal(signal.SIGINT)
    else:
        sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1685418085")
    assert code == process.wait(PATIENCE)
    output = " ".join(log.read_text().split())
    assert "revision 0002: " in output
    assert "run 1 has archived 1 row of " in output
    assert "dupe-audit restore 1" in output
    assert "Do not run alembic downgrade" in output
    holder.close()
    assert (0, [(2,)]) == (project.run("upgrade", "head")[0], rows(sql))


@pytest.mark.thorough
def test_a_revision_for_two_tables_continues_after_a_kill(sql, project, psycopg_connect):
    """Killed in the second table of a revision, the same command judges all again, and ends in the same state."""
    sql(f"{TABLE}; CREATE TABLE u (id int PRIMARY KEY, k int); INSERT INTO u VALUES (1, 1), (2, 1)")
    second = ["op.archive_duplicates('u', ['k'])", "op.create_unique_constraint_online('uq_u', 'u', ['k'])"]
    back = ["op.drop_unique_constraint_online('uq_u', 'u')", "op.restore_duplicates('u', ['k'])", DROP, RESTORE]
    project.revision("0002", "0001", "\n".join([CLEAN, ENFORCE, *second]), "\n".join(back))
    holder = psycopg_connect()
    holder.execute("SELECT FROM u FOR UPDATE")
    process, _ = project.start("upgrade", "head")
    wait_for(lambda: sql("SELECT to_regclass('dupe_audit.archive_2')") != [(None,)])
    process.kill()
    process.wait(PATIENCE)
    holder.close()
    code, output = project.run("upgrade", "head")
    assert (0, [("enforced", 1), ("enforced", 1)]) == (code, sql("SELECT state, archived FROM dupe_audit.run")), output
    assert 0 == project.run("downgrade", "0001")[0]
    assert [(3, 2)] == sql("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)")


@pytest.mark.thorough
def test_a_revision_for_two_tables_continues_after_an_unfinished_build(sql, project, psycopg_connect):
    """An unfinished index that a build has left on the second table is dropped and built by the same command again."""
    sql(f"{TABLE}; CREATE TABLE u (id int PRIMARY KEY, k int); INSERT INTO u VALUES (1, 1), (2, 1)")
    second = ["op.archive_duplicates('u', ['k'])", "op.create_unique_constraint_online('uq_u', 'u', ['k'])"]
    project.revision("0002", "0001", "\n".join([CLEAN, ENFORCE, *second]))
    holder = psycopg_connect()
    holder.execute("LOCK u IN ROW EXCLUSIVE MODE")  # the build waits for it, and so does dropping what it has left
    process, _ = project.start("upgrade", "head")
    wait_for(lambda: sql("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('uq_u') AND NOT indisvalid"))
    process.kill()
    process.wait(PATIENCE)
    wait_for(lambda: not sql("SELECT 1 FROM pg_stat_progress_create_index"))
    assert [(False,)] == sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'uq_u'::regclass")
    holder.close()
    code, output = project.run("upgrade", "head")
    assert (0, [("enforced",), ("enforced",)]) == (code, sql("SELECT state FROM dupe_audit.run")), output


@pytest.mark.thorough
def test_what_a_child_of_another_table_refuses_is_found_before_the_first_row_moves(sql, project):
    """References to extras of the second table stop the revision, unless the first cleanup can remove them."""
    child = "CREATE TABLE c (id int PRIMARY KEY, a int, u int REFERENCES u)"
    sql(f"{TABLE}; CREATE TABLE u (id int PRIMARY KEY, k int); INSERT INTO u VALUES (1, 1), (2, 1); {child}")
    sql("CREATE INDEX ON c (u); INSERT INTO c VALUES (1, 1, 1), (2, 1, 2)")
    second = "op.archive_duplicates('u', ['k'])"
    project.revision("0002", "0001", f"{CLEAN}\n{second}")
    code, output = project.run("upgrade", "head")
    assert (255, [(3,)]) == (code, rows(sql)), output
    assert "[foreign-key-references]" in output
    assert "No row was changed" in output

    project.revision("0002", "0001", f"op.archive_duplicates('c', ['a'], ignore=['u'])\n{second}")
    code, output = project.run("upgrade", "head")
    assert (0, [(1, 1)]) == (code, sql("SELECT (SELECT count(*) FROM c), (SELECT count(*) FROM u)")), output


def test_a_refusal_that_the_revision_ignores_lets_nothing_pass(sql, project):
    """A revision that catches a refusal and continues is refused again by the next directive."""
    sql(f"{TABLE}; CREATE TABLE uq (i int)")
    project.revision("0002", "0001", f"try:\n    {CLEAN}\nexcept Exception:\n    pass\n{ENFORCE}")
    code, output = project.run("upgrade", "head")
    assert (255, [(3,)]) == (code, rows(sql))
    assert "[name-taken]" in output


def test_a_revision_with_arguments_is_judged_too(sql, project):
    """Where env.py passes arguments to upgrade(), as for several databases, the revision is read with them."""
    sql(f"{TABLE}; CREATE TABLE uq (i int)")
    env = project.folder / "migrations" / "env.py"
    env.write_text(env.read_text().replace("run_migrations()", "run_migrations(engine_name='first')"))
    for name in ("0001", "0002"):
        project.revision(name, "0001" if name == "0002" else None, f"{CLEAN}\n{ENFORCE}" if name == "0002" else "pass")
        file = project.folder / "migrations" / "versions" / f"{name}.py"
        text = file.read_text().replace(
            "def upgrade():", "def upgrade(engine_name):\n    assert engine_name == 'first'"
        )
        file.write_text(text)
    code, output = project.run("upgrade", "head")
    assert (255, [(3,)]) == (code, rows(sql)), output
    assert "revision 0002. No row was changed." in output
    assert "cannot be read" not in output


def test_erased_rows_are_not_counted_as_archived(sql, project):
    """A revision that failed does not promise rows that were erased from its archive on purpose."""
    sql(f"{TABLE}, (4, 2)")
    project.revision("0002", "0001", f"{CLEAN}\nop.execute('SELECT 1/0')")
    for expected in ("2 rows", "1 row"):
        process, log = project.start("upgrade", "head")
        assert 0 != process.wait(PATIENCE)
        assert f"run 1 has archived {expected} of t (k)" in " ".join(log.read_text().split())
        sql("DELETE FROM dupe_audit.archive_1 WHERE dupe_audit_id = 1; UPDATE dupe_audit.run SET erased = 1")


MISMATCHES = {
    "column": ("op.restore_duplicates('t', ['id'])", "t (id)"),
    "table": ("op.restore_duplicates('tt', ['k'])", "tt (k)"),
    "schema": ("op.restore_duplicates('t', ['k'], schema='other')", "other.t (k)"),
    "constant": (
        "op.restore_duplicates(table=sa.__name__, columns=('k',)) if 0 else op.restore_duplicates('t', 'k')",
        "",
    ),
    "computed": ("op.restore_duplicates('t', [name for name in ('i', 'd')])", ""),
    "order": ("op.restore_duplicates(columns=('k',), table='t')", ""),
    "schema of the search path": ("op.restore_duplicates('t', ['k'], schema='public')", ""),
    "name that the function binds": ("for revision in ('t',):\n    op.restore_duplicates(revision, ['k'])", ""),
    "name of a nested function": (
        "def put_back(revision):\n    op.restore_duplicates(revision, ['k'])\nput_back('t')",
        "",
    ),
    "function of the project": (
        "from alembic_helpers import put_back\nput_back()\nop.restore_duplicates('tt', ['k'])",
        "",
    ),
    "another name": ("restore = op.restore_duplicates\nrestore('t', ['k'])\nop.restore_duplicates('tt', ['k'])", ""),
    "other statements": (
        "op.get_bind().execute(sa.text('SELECT 1'))\nlen([])\nop.restore_duplicates('tt', ['k'])",
        "tt (k)",
    ),
}


@pytest.mark.parametrize(("restore", "key"), MISMATCHES.values(), ids=MISMATCHES)
@pytest.mark.representatives("column")
def test_downgrade_that_restores_another_key_is_noticed_before_the_upgrade_acts(sql, project, restore, key):
    """A key that downgrade() restores instead of the archived one is refused by upgrade, script and preflight."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{DROP}\n{restore}")
    code, output = project.run("upgrade", "head")
    if not key:
        assert (0, [(2,)]) == (code, rows(sql)), output
        return
    line = 15 + restore.count("\n")
    message = (
        f"downgrade() of revision 0002 (0002.py, line {line}) restores {key}, but upgrade() cleans up t (k), "
        "so a downgrade would be refused."
    )
    assert (255, [(3,)], [(None,)]) == (code, rows(sql), sql("SELECT to_regclass('dupe_audit.run')")), output
    assert "FAILED: Refused: revision 0002. No row was changed." in output
    assert f"[restore-mismatch] {message}" in output
    if not key.startswith("other."):  # without a database, a schema that is not named could be any
        code, output = project.run("upgrade", "0001:0002", "--sql")
        assert 255 == code
        assert f"[restore-mismatch] {message}" in output
    code, output = project.run("preflight", program="dupe_audit.cli")
    assert 1 == code
    assert f"[restore-mismatch] {message}" in " ".join(output.split())
    assert 0 == project.run("-x", "dupe_audit.accept=restore-mismatch", "upgrade", "head")[0]
    assert [(2,)] == rows(sql)


@pytest.mark.parametrize("drop", ["'uk', 't'", "op.f('uk'), 't'", "'uq', 'tt'"], ids=["name", "op.f", "table"])
@pytest.mark.representatives("op.f")
def test_downgrade_that_drops_another_constraint_is_noticed_before_the_upgrade_acts(sql, project, drop):
    """A constraint that downgrade() drops instead of the created one is refused by upgrade, script and preflight."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"op.drop_unique_constraint_online({drop})\n{RESTORE}")
    name, table = ("uk", "t") if "uk" in drop else ("uq", "tt")
    message = (
        f"drops constraint {name} on {table}, but upgrade() creates constraint uq on t, which a downgrade would leave "
        "in place."
    )
    for command, program in (("upgrade head", "alembic"), ("upgrade 0001:0002 --sql", "alembic"), ("preflight", None)):
        code, output = project.run(*command.split(), **({"program": "dupe_audit.cli"} if program is None else {}))
        assert code in (1, 255), output
        assert message in " ".join(output.split())
    assert [(3,)] == rows(sql)


LOWER, PART = "[sa.text('lower(k::text)')]", "where='id > 0'"
AMEND = f"op.amend_duplicates('t', {LOWER}, {{'k': sa.text('t.id + 1000')}}, {PART})"
ENFORCE_INDEX = f"op.create_unique_index_online('uq', 't', {LOWER}, {PART})"
DROP_INDEX = "op.drop_unique_index_online('uq', 't')"
RESTORE_PART = f"op.restore_duplicates('t', {LOWER}, {PART})"


@pytest.mark.parametrize(
    ("up", "down", "key", "line"),
    [
        (f"{CLEAN}\n{ENFORCE}", DROP, "t (k)", RESTORE),
        (f"{AMEND}\n{ENFORCE_INDEX}", DROP_INDEX, "t (lower(k::text)) WHERE id > 0", RESTORE_PART),
    ],
    ids=["archive", "amend"],
)
@pytest.mark.representatives("amend")
def test_downgrade_that_restores_nothing_is_a_warning_with_the_missing_line(sql, project, up, down, key, line):
    """The upgrade and its script log once which line to add to downgrade(); nothing is refused."""
    sql(TABLE)
    project.revision("0002", "0001", up, down)
    message = f"[restore-missing] downgrade() of revision 0002 (0002.py) does not restore {key}: "
    solution = f"Add to downgrade(), after it drops the constraint or index: {line}."
    assert message in project.run("upgrade", "0001:0002", "--sql")[1]
    code, output = project.run("upgrade", "head")
    assert (0, 1, 1) == (code, output.count(message), output.count(solution)), output


def test_preflight_warns_of_each_downgrade_that_restores_nothing(sql, project):
    """A downgrade that restores, raises, calls a function of the project, or accepts the finding is not reported."""
    sql(TABLE)
    downgrades = {
        "0002": "pass",
        "0003": DROP,
        "0004": f"{DROP}\n{RESTORE}",
        "0005": "raise NotImplementedError('on purpose')",
        "0006": f"import project_helpers\n{DROP}\nproject_helpers.restore()",
        "0007": f"{DROP}  # dupe-audit: accept restore-missing",
    }
    for name, down in downgrades.items():
        project.revision(name, f"{int(name) - 1:04}", f"{CLEAN}\n{ENFORCE.replace('uq', f'uq_{name}')}", down)
    code, output = project.run("preflight", program="dupe_audit.cli")
    assert 1 == code
    assert ["0002", "0003"] == re.findall(r"warning \[restore-missing\] downgrade\(\) of revision (\d+)", output), (
        output
    )
    assert "info [restore-missing] downgrade() of revision 0007" in output


def test_downgrade_that_restores_before_it_drops_is_noticed_before_the_upgrade_acts(sql, project):
    """The constraint would reject the restored rows, so upgrade, script and preflight refuse the order of the lines."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{RESTORE}\n{DROP}")
    message = "restores t (k) before it drops constraint uq, which would reject the restored rows."
    for command, program in (("upgrade head", "alembic"), ("upgrade 0001:0002 --sql", "alembic"), ("preflight", None)):
        code, output = project.run(*command.split(), **({"program": "dupe_audit.cli"} if program is None else {}))
        assert code in (1, 255), output
        assert message in " ".join(output.split())
    assert [(3,)] == rows(sql)


@pytest.mark.parametrize(
    ("drop", "restore", "problem"),
    [
        ("op.drop_unique_constraint_online('uq', 't', ['k'])", RESTORE, "op.drop_unique_constraint_online(): too many"),
        ("op.drop_unique_constraint_online('uq', 't', where='k')", RESTORE, "unexpected keyword argument 'where'"),
        (DROP, "op.restore_duplicates('t', ['k'], keep='first')", "unexpected keyword argument 'keep'"),
        (DROP, "op.restore_duplicates('t')", "missing a required argument: 'columns'"),
    ],
)
@pytest.mark.representatives("op.drop_unique_constraint_online('uq', 't', where*")
def test_downgrade_that_cannot_be_called_is_noticed_before_the_upgrade_acts(sql, project, drop, restore, problem):
    """An argument that a directive of downgrade() does not have is refused by upgrade, script and preflight."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{drop}\n{restore}")
    for command, program in (("upgrade head", "alembic"), ("upgrade 0001:0002 --sql", "alembic"), ("preflight", None)):
        code, output = project.run(*command.split(), **({"program": "dupe_audit.cli"} if program is None else {}))
        assert code in (1, 255), output
        assert "[restore-mismatch] downgrade() of revision 0002 (0002.py, line 1" in output
        assert problem in " ".join(output.split())
    assert [(3,)] == rows(sql)


@pytest.mark.representatives("online")
@pytest.mark.parametrize("way", ["online", "script"])
def test_cleanup_of_another_key_is_noticed_before_the_first_row_moves(sql, project, psql, way):
    """A cleanup whose key is not the created one's does not hide that one's duplicates until rows have moved."""
    sql(TABLE)
    up = "op.archive_duplicates('t', ['k'], where='id > 1')\nop.create_unique_index_online('ux', 't', ['k'])"
    down = "op.drop_unique_index_online('ux', 't')\nop.restore_duplicates('t', ['k'], where='id > 1')"
    project.revision("0002", "0001", up, down)
    if way == "online":
        code, output = project.run("upgrade", "head")
        message = "Duplicates found in t (k) (1 extra), and this revision cleans up another key: t (k) WHERE id > 1."
        advice = "Give the cleanup and op.create_unique_index_online() the same columns and the same where."
        assert (255, True, True) == (code, message in output, advice in output), output
    else:
        done = psql(project.script("upgrade", "0001:0002"))
        assert (3, True) == (done.returncode, "duplicates" in done.stderr), done.stderr
    assert [(3,)] == rows(sql)


def test_mistyped_table_of_an_upgrade_is_named_together_with_the_mismatch(sql, project):
    """A mistake in upgrade() that also makes downgrade() differ is reported as what it is, at the same time."""
    sql(TABLE)
    project.revision("0002", "0001", "op.archive_duplicates('tt', ['k'])", RESTORE)
    code, output = project.run("upgrade", "head")
    assert (255, [(3,)]) == (code, rows(sql))
    assert "tt (k), op.archive_duplicates(): [table-missing]" in " ".join(output.split())
    assert "[restore-mismatch]" in output


def test_downgrade_that_drops_no_constraint_of_its_revision_is_refused(sql, project):
    """A mistyped name in a downgrade whose upgrade is applied is refused, and the correct name works then."""
    sql(TABLE)
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", "op.drop_unique_constraint_online('u' + 'k', 't')")
    assert 0 == project.run("upgrade", "head")[0]
    code, output = project.run("downgrade", "0001")
    assert (255, [("0002",)]) == (code, sql("SELECT version_num FROM alembic_version")), output
    expected = "public.t has no constraint uk. Run 1 of this revision enforces uq, which downgrade() does not drop."
    assert expected in " ".join(output.split())
    project.revision("0002", "0001", f"{CLEAN}\n{ENFORCE}", f"{DROP}\n{RESTORE}")
    assert (0, [(3,)]) == (project.run("downgrade", "0001")[0], rows(sql))


@pytest.mark.thorough
def test_downgrade_may_restore_a_key_of_another_revision_beside_its_own(sql, project):
    """A downgrade that leaves a key to a function of its module may restore further keys itself."""
    sql(f"{TABLE}; CREATE TABLE u (id int PRIMARY KEY, k int)")
    project.revision("0002", "0001", "op.archive_duplicates('u', ['k'])")
    project.revision("0003", "0002", CLEAN, "put_back()\nop.restore_duplicates('u', ['k'])")
    path = project.folder / "migrations" / "versions" / "0003.py"
    path.write_text(f"{path.read_text()}\n\ndef put_back():\n    {RESTORE}\n")
    assert (0, [(2,)]) == (project.run("upgrade", "head")[0], rows(sql))
    assert (0, [(3,)]) == (project.run("downgrade", "0002")[0], rows(sql))


def test_downgrade_may_name_the_table_that_the_revision_renames(sql, project):
    """A key is not judged if the revision renames its table: downgrade() may use either name."""
    sql(TABLE)
    down = "op.restore_duplicates('tt', ['k'])\nop.rename_table('tt', 't')"
    project.revision("0002", "0001", f"{CLEAN}\nop.rename_table('t', 'tt')", down)
    assert (0, [(2,)]) == (project.run("upgrade", "head")[0], sql("SELECT count(*) FROM tt"))
    assert (0, [(3,)]) == (project.run("downgrade", "0001")[0], rows(sql))


@pytest.mark.parametrize(
    ("clean", "message"),
    [
        ("op.archive_duplicates('t', ['kk'])", "public.t has no column 'kk'."),
        ("op.archive_duplicates('tt', ['kk'])", "There is no table for key public.tt (kk) in this database"),
    ],
    ids=["column", "table"],
)
def test_preflight_names_the_revision_of_a_missing_column_or_table(sql, project, clean, message):
    """What a pending revision names and the database lacks is reported with the revision and its function."""
    sql(TABLE)
    table = "t" if "'t'" in clean else "tt"
    project.revision("0002", "0001", f"{clean}\nop.create_unique_constraint_online('uq', '{table}', ['kk'])")
    code, output = project.run("preflight", program="dupe_audit.cli")
    assert 1 == code
    assert f"upgrade() of revision 0002: {message}" in " ".join(output.split())
