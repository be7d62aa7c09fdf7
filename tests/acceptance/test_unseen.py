"""Anything that preflight and verify cannot read is a finding and fails: nothing unread is reported as clean."""

import pytest
from sqlalchemy import make_url

TABLE = "CREATE TABLE t (id int PRIMARY KEY, k int, note text); INSERT INTO t VALUES (1, 1), (2, 1), (3, 2)"


def ids(reports):
    """Return the ids of the findings of all reports."""
    return [finding["id"] for report in reports for finding in report["findings"]]


def messages(reports):
    """Return the messages of the findings of all reports, as one text."""
    return "\n".join(finding["message"] for report in reports for finding in report["findings"])


@pytest.fixture
def table(sql):
    """The table t with an extra, in a database that is stamped before the revision under test."""
    sql(TABLE)


@pytest.fixture
def pending(generic, table, sql):
    """A project whose first revision is applied; what a test adds is pending."""
    generic.revision("0001")
    sql("CREATE TABLE alembic_version (version_num text PRIMARY KEY); INSERT INTO alembic_version VALUES ('0001')")
    return generic


def reads_data(*after):
    """Return the lines of a revision that reads data before it does something."""
    return ("if op.get_bind().execute(sa.text('SELECT count(*) FROM t')).scalar():", *(f"    {line}" for line in after))


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (
            reads_data("op.create_unique_constraint_online('uq', 't', ['k'])"),
            "the revision reads the result of a statement (0002.py, line 9)",
        ),
        (
            ("op.create_unique_constraint_online('uq', 't', ['k'], lock_timout='1s')",),
            "got an unexpected keyword argument 'lock_timout'. Its arguments are: name, table, columns, ",
        ),
        (
            ("op.create_unique_constraint('uq', 't', colums)",),
            "NameError: name 'colums' is not defined (0002.py, line 9)",
        ),
        (("raise SystemExit(0)",), "SystemExit: 0 (0002.py, line 9)"),
    ],
    ids=["data", "argument", "name", "exit"],
)
@pytest.mark.representatives("data", "exit")
def test_a_pending_revision_that_cannot_be_read_fails(pending, lines, cause):
    """Preflight names the revision, its file and line, and the cause; its JSON is not empty and it ends with 1."""
    pending.revision("0002", *lines)
    (report,) = pending.reports("preflight", code=1)
    assert ("0002", None, []) == (report["revision"], report["table"], report["columns"])
    assert ["revision-unread"] == ids([report])
    assert "Revision 0002" in messages([report])
    assert cause in messages([report])
    assert "[revision-unread] Revision 0002" in pending.dupe_audit("preflight", code=1).stdout


def test_what_a_revision_declares_before_it_cannot_be_read_is_counted(pending):
    """Directives before the line that needs data are examined, and the rest is a finding."""
    pending.revision("0002", "op.create_unique_constraint_online('uq', 't', ['k'])", *reads_data("op.drop_table('u')"))
    unread, key = pending.reports("preflight", code=1)
    assert ("uq", 1, ["revision-unread"]) == (key["constraint"], key["extras"], ids([unread]))


def test_only_a_directive_with_a_wrong_argument_is_left_out(pending):
    """After a directive with a wrong argument the reading continues, and the finding says so."""
    pending.revision(
        "0002",
        "op.archive_duplicates('t', ['k'], kep='last')",
        "op.create_unique_constraint_online('uq', 't', ['k'])",
    )
    unread, key = pending.reports("preflight", code=1)
    assert "That directive was left out, so its key and its rule are not known." in messages([unread])
    assert ("uq", 1) == (key["constraint"], key["extras"])

    pending.revision("0003", "op.archive_duplicates('t', ['note'], kep='last')", "colums")
    assert "Nothing after that line was examined" in messages(pending.reports("preflight", code=1))


def test_an_applied_revision_that_cannot_be_read_fails_verify(pending):
    """Verify fails for an applied revision that reads data and mentions uniqueness; a comment accepts it."""
    file = pending.revision("0002", *reads_data("op.create_unique_constraint('uq', 't', ['k', 'id'])"))
    pending.alembic("upgrade", "head")
    (report,) = pending.reports("verify", code=1)
    assert (False, "0002", ["revision-unread"]) == (report["ok"], report["revision"], ids([report]))

    file.write_text(file.read_text() + "\n# dupe-audit: accept revision-unread - looked at by hand\n")
    (report,) = pending.reports("verify")
    assert (True, "info") == (report["ok"], report["findings"][0]["severity"])


def test_a_revision_that_only_moves_data_does_not_fail(pending):
    """A revision that reads data, but whose file mentions no uniqueness, is an info."""
    pending.revision("0002", *reads_data("op.execute('UPDATE t SET note = NULL')"))
    (report,) = pending.reports("preflight")
    assert ("revision-unread", "info") == (report["findings"][0]["id"], report["findings"][0]["severity"])


def test_code_for_online_mode_alone_is_skipped(pending):
    """What a revision does under `if not context.is_offline_mode()` does not stop the reading."""
    pending.revision(
        "0002",
        "if not context.is_offline_mode():",
        "    print(op.get_bind().execute(sa.text('SELECT 1')).scalar())",
        "op.create_unique_constraint_online('uq', 't', ['k', 'note'])",
    )
    (report,) = pending.reports("preflight")
    assert ("uq", 0) == (report["constraint"], report["extras"])


PLAIN = {
    "constraint": "op.create_unique_constraint('uq', 't', ['k'])",
    "unnamed": "op.create_unique_constraint(None, 't', ['k'])",
    "index": "op.create_index('uq', 't', ['k'], unique=True)",
    "descending": "op.execute('CREATE UNIQUE INDEX uq ON t (k DESC NULLS LAST)')",
    "primary key": "op.create_primary_key('uq', 't', ['k'])",
    "batch": "with op.batch_alter_table('t') as batch: batch.create_unique_constraint('uq', ['k'])",
    "bind": "k = sa.Column('k'); sa.Table('t', sa.MetaData(), k); sa.Index('uq', k, unique=True).create(op.get_bind())",
    "sql index": "op.execute('CREATE UNIQUE INDEX IF NOT EXISTS uq ON public.t USING btree (\"k\")')",
    "sql constraint": "op.execute('ALTER TABLE ONLY t ADD CONSTRAINT uq UNIQUE (k); -- once')",
    "ddl": "op.execute(sa.DDL('ALTER TABLE t ADD CONSTRAINT uq UNIQUE (k)'))",
    "ddl on the bind": "op.get_bind().execute(sa.DDL('CREATE UNIQUE INDEX uq ON %(name)s (k)', context={'name': 't'}))",
    "driver": "op.get_bind().exec_driver_sql('CREATE UNIQUE INDEX uq ON t (k)')",
    "own construct": (
        "from sqlalchemy.ext.compiler import compiles; unique = type('Unique', (sa.schema.ExecutableDDLElement,), {}); "
        "compiles(unique, 'postgresql')(lambda *_, **__: 'CREATE UNIQUE INDEX uq ON t (k)'); op.execute(unique())"
    ),
    "sql primary key": "op.execute(sa.text('alter table if exists t add primary key (k)'))",
}


@pytest.mark.parametrize("line", PLAIN.values(), ids=PLAIN)
@pytest.mark.representatives("descending", "batch", "sql constraint")
def test_uniqueness_of_plain_operations_is_counted(pending, line):
    """Preflight counts the extras of a key that a plain operation is about to enforce, and says that it will fail."""
    pending.revision("0002", line)
    (report,) = pending.reports("preflight", code=1)
    assert ("public", "t", ["k"], 1) == (report["schema"], report["table"], report["columns"], report["extras"])
    assert {"upgrade-will-fail", "blocking-operation", "duplicates"} <= set(ids([report]))
    assert "Revision 0002 enforces public.t (k), which has 1 extra" in messages([report])
    pending.alembic("upgrade", "head", code=1)


def test_a_concurrent_index_blocks_nobody(pending):
    """An index that a plain operation builds concurrently is counted, but not named as one that blocks writers."""
    options = "unique=True, postgresql_concurrently=True"
    pending.revision(
        "0002",
        "with op.get_context().autocommit_block():",
        f"    op.create_index('uq_k', 't', ['k'], {options})",
        f"    op.create_index('uq_note', 't', ['note'], {options})",
    )
    extras, clean = pending.reports("preflight", code=1)
    assert ["upgrade-will-fail", "duplicates"] == ids([extras])
    assert [] == ids([clean])


def test_a_plain_operation_on_clean_rows_is_a_warning(pending):
    """Where there is no duplicate, a plain operation is only named as one that blocks writers."""
    pending.revision("0002", "op.create_unique_constraint('uq', 't', ['k', 'note'])")
    (report,) = pending.reports("preflight", code=1)
    assert [("blocking-operation", "warning")] == [(f["id"], f["severity"]) for f in report["findings"]]


NOT_COUNTED = {
    "operator class": "op.create_index('uq', 't', [sa.text('lower(note) text_pattern_ops')], unique=True)",
    "exclusion": "op.create_exclude_constraint('uq', 't', ('k', '='), using='btree')",
    "sql operator class": "op.execute('CREATE UNIQUE INDEX uq ON t (lower(note) text_pattern_ops)')",
    "sql string": "op.execute(\"CREATE UNIQUE INDEX uq ON t (k) WHERE note <> 'x'\")",
    "new column": (
        "op.add_column('t', sa.Column('a', sa.Integer, server_default='0')); "
        "op.create_index('uq', 't', ['k'], unique=True, postgresql_where=sa.text('a = 0'))"
    ),
    "sql exclusion": "op.execute('ALTER TABLE t ADD CONSTRAINT uq EXCLUDE USING btree (k WITH =)')",
    "not compiled": "uq = type('uq', (sa.schema.ExecutableDDLElement,), {}); op.execute(uq())",
    "sql block": "op.execute('DO $$ BEGIN ALTER TABLE t ADD CONSTRAINT uq UNIQUE (k); END $$')",
}


@pytest.mark.parametrize("line", NOT_COUNTED.values(), ids=NOT_COUNTED)
@pytest.mark.representatives("operator class", "sql string", "sql block", "not compiled")
def test_uniqueness_that_cannot_be_counted_fails(pending, line):
    """An operator class, a new column, an exclusion constraint, or SQL that cannot be read is an error."""
    pending.revision("0002", line)
    (report,) = pending.reports("preflight", code=1)
    assert [("uniqueness-not-counted", "error")] == [(f["id"], f["severity"]) for f in report["findings"]]
    assert "uq" in messages([report])
    assert "0002" == report["revision"]


@pytest.mark.parametrize(
    ("line", "key", "extras"),
    [
        ("op.create_index('uq', 't', [sa.text('lower(note)'), 'k'], unique=True)", "(lower(note), k)", 0),
        ("op.create_index('uq', 't', ['k'], unique=True, postgresql_where=sa.text('id >= 1'))", "(k) WHERE id >= 1", 1),
        ("op.execute('CREATE UNIQUE INDEX uq ON t (lower(note), k)')", "(lower(note), k)", 0),
        ("op.execute('CREATE UNIQUE INDEX uq ON t (k) NULLS DISTINCT WHERE id >= 1')", "(k) WHERE id >= 1", 1),
    ],
)
@pytest.mark.representatives("op.execute('CREATE UNIQUE INDEX uq ON t (lower(note), k)')*")
def test_plain_index_with_an_expression_or_a_predicate_is_counted(pending, line, key, extras):
    """Elements and predicate of a plain unique index are read from SQLAlchemy's constructs and from simple SQL."""
    pending.revision("0002", line)
    output = " ".join(pending.dupe_audit("preflight", code=1).stdout.split())
    assert f"Revision 0002 enforces public.t {key}" in output
    assert f" extras {extras} " in output
    assert "uniqueness-not-counted" not in output


def test_new_columns_and_types(pending):
    """A new unique column without values needs no count; one with a default, or a new type, cannot be counted."""
    pending.revision(
        "0002",
        "op.add_column('t', sa.Column('a', sa.Integer, unique=True))",
        "op.add_column('t', sa.Column('b', sa.Integer, server_default='0', unique=True))",
        "op.alter_column('t', 'note', type_=sa.String(3), postgresql_using='left(note, 3)')",
        "op.create_unique_constraint('uq_note', 't', ['note'])",
    )
    reports = pending.reports("preflight", code=1)
    assert ["uniqueness-not-counted"] * 2 == ids(reports)
    assert "column b is added by revision 0002" in messages(reports)
    assert "column note gets another type in revision 0002" in messages(reports)


def test_uniqueness_of_new_tables_needs_no_count(pending):
    """The keys of a table that a pending revision creates are not examined, and not reported as missing."""
    pending.revision(
        "0002",
        "op.create_table('u', sa.Column('id', sa.Integer, primary_key=True), sa.Column('k', sa.Integer, unique=True))",
        "op.create_index('uq', 'u', [sa.text('lower(id::text)')], unique=True)",
        "op.execute('CREATE TABLE v (k int UNIQUE, n int, UNIQUE (k, n))')",
        "op.execute(\"INSERT INTO t (id, note) VALUES (9, 'UNIQUE; PRIMARY KEY')\")",
    )
    assert [] == pending.reports("preflight")


def test_what_exists_already_is_counted(pending):
    """A table or a column that a revision creates only if it does not exist is counted where it exists."""
    pending.revision(
        "0002",
        "op.create_table('t', sa.Column('id', sa.Integer, unique=True), if_not_exists=True)",
        "op.create_unique_constraint('uq', 't', ['k'])",
        "op.add_column('t', sa.Column('k', sa.Integer, unique=True), if_not_exists=True)",
    )
    reports = pending.reports("preflight", code=1)
    assert [("uq", 1), (None, 1)] == [(report["constraint"], report["extras"]) for report in reports]


def test_what_takes_the_place_of_another_is_new(pending):
    """A table or a column that takes the name of one renamed or dropped before has no rows or values to count."""
    pending.revision(
        "0002",
        "op.drop_column('t', 'k')",
        "op.add_column('t', sa.Column('k', sa.Integer, unique=True))",
        "op.rename_table('t', 't_old')",
        "op.create_table('t', sa.Column('id', sa.Integer), sa.Column('k', sa.Integer))",
        "op.create_unique_constraint('uq', 't', ['k'])",
    )
    assert [] == pending.reports("preflight")


def test_renames_are_followed_before_the_upgrade(pending):
    """A key on a table and a column that pending revisions rename is counted under their present names."""
    pending.revision("0002", "op.rename_table('t', 'u')", "op.alter_column('u', 'k', new_column_name='kk')")
    pending.revision("0003", "op.create_unique_constraint('uq', 'u', ['kk'])")
    (report,) = pending.reports("preflight", code=1)
    assert ("t", ["k"], 1) == (report["table"], report["columns"], report["extras"])


def test_a_cleanup_before_a_plain_operation(pending):
    """With archive_duplicates in the revision a plain operation does not fail, but still blocks writers."""
    pending.revision("0002", "op.archive_duplicates('t', ['k'])", "op.create_unique_constraint('uq', 't', ['k'])")
    (report,) = pending.reports("preflight", code=1)
    assert ["duplicates", "blocking-operation"] == ids([report])


def test_a_branch_of_which_nothing_is_applied_is_pending(pending):
    """The keys of an independent branch are examined too."""
    pending.revision("1001", "op.create_unique_constraint('uq', 't', ['k'])", down=None)
    (report,) = pending.reports("preflight", code=1)
    assert "uq" == report["constraint"]


# verify


HISTORY = (
    "id, k = sa.Column('id', sa.Integer, primary_key=True), sa.Column('k', sa.Integer, unique=True)",
    "n = sa.Column('n', sa.Integer)",
    "op.create_table('a', id, k, n)",
    "op.create_unique_constraint('uq_n', 'a', ['n', 'k'])",
    "op.create_index('ix_n', 'a', ['n'], unique=True)",
    "op.create_index('ix_low', 'a', [sa.text('abs(n)')], unique=True)",
)


@pytest.fixture
def applied(generic):
    """A project with plain uniqueness in an applied revision."""
    generic.revision("0001", *HISTORY)
    generic.alembic("upgrade", "head")
    return generic


def test_plain_uniqueness_is_verified_in_the_catalog(applied):
    """Verify reports each key of a plain operation; the text has one line for all that are in place."""
    reports = applied.reports("verify")
    assert [(["k"], True), (["n", "k"], True), (["n"], True)] == [(r["columns"], r["ok"]) for r in reports[:3]]
    assert {None} == {report["extras"] for report in reports}
    assert "4 keys of plain operations have their valid unique index" in applied.dupe_audit("verify").stdout


DROPS = "ALTER TABLE a DROP CONSTRAINT uq_n, DROP CONSTRAINT a_k_key; DROP INDEX ix_n"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ("ALTER TABLE a DROP CONSTRAINT a_k_key", "(k)"),
        ("DROP INDEX ix_low", "ix_low"),
        ("DROP TABLE a", "the table does not exist"),
        (f"{DROPS}; CREATE UNIQUE INDEX uq_n ON a (n, k) WHERE n > 0", "(n, k)"),
    ],
)
@pytest.mark.representatives("DROP INDEX*", "DROP TABLE*")
def test_plain_uniqueness_that_somebody_dropped_fails(applied, sql, change, names):
    """A constraint or an index that is gone, although no revision drops it, is an error."""
    sql(change)
    reports = applied.reports("verify", code=1)
    assert "uniqueness-missing" in ids(reports)
    assert names in messages(reports)
    assert "0001" in messages(reports)


FOLLOWED = {
    "drop_constraint": ("op.drop_constraint('uq_n', 'a')", "op.drop_constraint('a_k_key', 'a')"),
    "other names": (
        "a, c = sa.Column('a', sa.Integer, sa.ForeignKey('a.id')), sa.Column('c', sa.Integer, index=True)",
        "op.create_table('b', a, c)",
        "op.drop_constraint('b_a_fkey', 'b', type_='foreignkey')",
        "op.drop_index('ix_b_c', 'b')",
        "op.create_check_constraint('positive', 'a', 'n > 0')",
        "op.drop_constraint('positive', 'a', type_='check')",
    ),
    "drop_index": ("op.drop_index('ix_n')", "op.drop_index('ix_low', 'a')"),
    "drop_column": ("op.drop_column('a', 'n')",),
    "drop_table": ("op.drop_table('a')",),
    "rename": ("op.rename_table('a', 'b')", "op.alter_column('b', 'n', new_column_name='nn')", "op.drop_index('ix_n')"),
    "batch": ("with op.batch_alter_table('a') as batch: batch.drop_constraint('uq_n')",),
    "sql": (
        "op.execute('ALTER TABLE a DROP CONSTRAINT IF EXISTS uq_n CASCADE, DROP COLUMN k; DROP INDEX ix_n, ix_low')",
    ),
    "sql rename": (
        "op.execute('ALTER INDEX ix_n RENAME TO ix_m')",
        "op.drop_index('ix_m')",
        "op.execute('ALTER TABLE a RENAME CONSTRAINT uq_n TO uq_m')",
        "op.drop_constraint('uq_m', 'a')",
    ),
    "using index": (
        "op.execute('ALTER TABLE a ADD CONSTRAINT c UNIQUE USING INDEX ix_n')",
        "op.drop_constraint('c', 'a')",
    ),
    "schema": ("op.execute('CREATE SCHEMA s')", "op.execute('ALTER TABLE a SET SCHEMA s')"),
    "replaced": (
        "op.drop_index('ix_n')",
        "op.drop_constraint('uq_n', 'a')",
        "op.create_unique_constraint('uq_2', 'a', ['n', 'k'])",
    ),
}


@pytest.mark.parametrize("lines", FOLLOWED.values(), ids=FOLLOWED)
@pytest.mark.representatives("drop_column", "sql rename")
def test_later_revisions_that_drop_and_rename_are_followed(applied, lines):
    """Verify raises no false alarm about what a later revision has dropped, renamed or moved."""
    applied.revision("0002", *lines)
    applied.alembic("upgrade", "head")
    reports = applied.reports("verify")
    assert all(report["ok"] for report in reports)
    assert [] == ids(reports)


def test_verify_names_the_pending_revisions_that_enforce_keys(pending):
    """With no key in an applied revision, verify succeeds, and names the pending revisions that enforce keys."""
    message = "No applied revision enforces a key."
    assert f"{message}\n" in pending.dupe_audit("verify").stderr

    pending.revision("0002", "op.create_unique_constraint_online('uq', 't', ['k'])")
    pending.revision("0003", "op.execute('SELECT 1')")
    assert f"{message} Pending: 0002. Run: alembic upgrade head.\n" in pending.dupe_audit("verify").stderr
    assert f"{message}\n" in pending.dupe_audit("verify", "--schemas", "other").stderr


RENAMED_KEYS = {
    "constraint": (
        "op.archive_duplicates('t', ['k'])",
        "op.create_unique_constraint_online('uq', 't', ['k'])",
        "op.execute('ALTER TABLE t RENAME CONSTRAINT uq TO uq_new')",
    ),
    "index of a constraint": (
        "op.archive_duplicates('t', ['k'])",
        "op.create_unique_constraint_online('uq', 't', ['k'])",
        "op.execute('ALTER INDEX uq RENAME TO uq_new')",
    ),
    "index": (
        "op.archive_duplicates('t', [sa.text('abs(k)')])",
        "op.create_unique_index_online('uq', 't', [sa.text('abs(k)')])",
        "op.execute('ALTER INDEX uq RENAME TO uq_new')",
    ),
}


@pytest.mark.parametrize(("cleanup", "declaration", "rename"), RENAMED_KEYS.values(), ids=RENAMED_KEYS)
@pytest.mark.representatives("constraint")
def test_the_key_of_a_directive_is_followed_through_a_rename(pending, cleanup, declaration, rename):
    """Preflight names a key as its directive creates it, and verify as a later revision renames it."""
    pending.revision("0002", cleanup, declaration)
    pending.revision("0003", rename)
    assert ["uq"] == [report["constraint"] for report in pending.reports("preflight", code=1)]
    pending.alembic("upgrade", "head")
    reports = pending.reports("verify")
    assert [("uq_new", True)] == [(report["constraint"], report["ok"]) for report in reports]
    assert [] == ids(reports)


def test_a_key_that_is_missing_after_a_change_which_cannot_be_read_is_a_warning(applied):
    """A key that such a change may have dropped fails verify, until the revision that declares it accepts that."""
    applied.revision("0002", "op.execute('DO $$ BEGIN DROP INDEX ix_n; ALTER TABLE a DROP CONSTRAINT uq_n; END $$')")
    applied.alembic("upgrade", "head")
    reports = applied.reports("verify", code=1)
    assert ["uniqueness-not-followed"] == ids(reports)
    assert "0001 declares public.a (n), which has no such index" in messages(reports)
    assert {"warning"} == {finding["severity"] for report in reports for finding in report["findings"]}

    file = applied.scripts / "versions" / "0001.py"
    file.write_text(file.read_text() + "\n# dupe-audit: accept uniqueness-not-followed - dropped in 0002\n")
    reports = applied.reports("verify")
    assert {"info"} == {finding["severity"] for report in reports for finding in report["findings"]}


def test_an_applied_key_whose_sql_cannot_be_read_is_a_warning(applied):
    """Verify fails if an applied revision may declare a key that it cannot read; a comment there accepts it."""
    file = applied.revision("0002", "op.execute('DO $$ BEGIN CREATE UNIQUE INDEX uq ON a (n); END $$')")
    applied.alembic("upgrade", "head")
    reports = applied.reports("verify", code=1)
    assert ["uniqueness-not-followed"] == ids(reports)
    assert "Verify by name each key that the revision declares" in reports[-1]["findings"][0]["help"]

    file.write_text(file.read_text() + "\n# dupe-audit: accept uniqueness-not-followed - uq is in place\n")
    applied.reports("verify")


@pytest.mark.thorough
def test_a_long_plain_history_is_verified(generic):
    """A hundred plain revisions, which create and drop names, end verify with 0."""
    generic.revision("0000", "op.create_table('t0', sa.Column('id', sa.Integer, primary_key=True))")
    for number in range(1, 100):
        generic.revision(
            f"{number:04}",
            f"op.create_table('t{number}', sa.Column('a', sa.Integer, unique=True), sa.Column('b', sa.Text))",
            f"op.create_index('ix{number}', 't{number}', ['b'], unique={number % 2 == 0})",
            f"op.drop_index('ix{number - 1}', 't{number - 1}')" if number > 1 else "pass",
            f"op.drop_table('t{number - 3}')" if number > 3 else "pass",
        )
    generic.alembic("upgrade", "head")
    reports = generic.reports("verify")
    assert [] == ids(reports)
    assert 3 == len(reports)


# env.py and the database


def test_a_database_that_is_not_stamped_is_a_warning(generic, sql):
    """Both commands report tables without a recorded revision, and end with 1; an empty database is clean."""
    generic.revision("0001")
    assert [] == generic.reports("verify")
    sql(TABLE)
    for command in ("preflight", "verify"):
        assert ["database-not-stamped"] == ids(generic.reports(command, code=1))


def test_tenants_that_are_not_stamped_are_named(generic, sql):
    """The version table of each tenant is named with its schema."""
    for tenant in ("tenant_a", "tenant_b"):
        sql(f"CREATE SCHEMA {tenant}; CREATE TABLE {tenant}.t (i int)")
    generic.edit_env("\n    with connectable.connect() as connection:", TENANTS.replace("{map}", ""))
    generic.revision("0001")
    output = messages(generic.reports("verify", code=1))
    assert "no applied revision is recorded in tenant_a.alembic_version, so" in output
    assert "no applied revision is recorded in tenant_b.alembic_version, so" in output


def test_a_config_with_another_database_is_reported(generic, sql, server_url):
    """If env.py takes its URL from the config, and DATABASE_URL is another database, a note says which is used."""
    generic.revision("0001")
    assert "names a different database" not in generic.dupe_audit("verify").stderr
    ini = generic.directory / "alembic.ini"
    own = next(line for line in ini.read_text().splitlines() if line.startswith("sqlalchemy.url"))
    ini.write_text(ini.read_text().replace(own, f"sqlalchemy.url = {server_url.replace('%', '%%')}"))
    output = generic.dupe_audit("verify").stderr
    assert "sqlalchemy.url in alembic.ini names a different database from DATABASE_URL, which this command" in output


def test_another_database_than_that_of_env_py(generic, server_url, database_url):
    """Both databases are named with host and name, without a password, and the command ends with 3."""
    generic.revision("0001")
    generic.edit_env("config.get_section(config.config_ini_section, {})", f'{{"sqlalchemy.url": {server_url!r}}}')
    done = generic.dupe_audit("verify", code=3)
    assert "env.py: database postgres on" in done.stderr
    assert f"This command (DATABASE_URL): database {make_url(database_url).database} on" in done.stderr


ENVS = {
    "context.run_migrations()": ("pass", "never called context.run_migrations()"),
    "target_metadata = None": ("import sys; sys.exit(0)", "env.py failed: SystemExit: 0 (env.py, line "),
    "poolclass=pool.NullPool": ("poolclass=pool.NulPool", "has no attribute 'NulPool'"),
}


@pytest.mark.parametrize(("old", "new", "says"), [(old, *values) for old, values in ENVS.items()])
def test_an_env_py_that_leads_nowhere_fails(generic, old, new, says):
    """An env.py that migrates nothing, passes no connection, exits or fails ends the command with 3."""
    generic.revision("0001")
    generic.edit_env(old, new)
    for command in ("preflight", "verify"):
        assert says in generic.dupe_audit(command, code=3).stderr


def test_what_env_py_prints_does_not_reach_the_json(generic):
    """The output of env.py and of a revision's module goes to standard error."""
    generic.edit_env("target_metadata = None", "target_metadata = None; print('loading models')")
    generic.revision("0001", header="print('loading revision')")
    assert [] == generic.reports("verify")


TENANTS = """
    with connectable.connect() as connection:
        for tenant in ("tenant_a", "tenant_b"):
            connection.exec_driver_sql(f"SET search_path TO {tenant}")
            connection.commit()
            context.configure(
                connection=connection{map}, target_metadata=target_metadata, version_table_schema=tenant,
                transaction_per_migration=True,
            )
            with context.begin_transaction():
                context.run_migrations()
    return
    with connectable.connect() as connection:"""


@pytest.mark.parametrize("mapped", [False, True], ids=["search_path", "schema_translate_map"])
@pytest.mark.representatives("schema_translate_map")
def test_every_tenant_is_read(generic, sql, mapped):
    """An env.py that loops over schemas has each of them examined, by name, and each unread revision named for it."""
    for tenant in ("tenant_a", "tenant_b"):
        sql(f"CREATE SCHEMA {tenant}; CREATE TABLE {tenant}.t (id int PRIMARY KEY, k int)")
    sql("INSERT INTO tenant_b.t VALUES (1, 1), (2, 1)")
    translated = ".execution_options(schema_translate_map={None: tenant})" if mapped else ""
    tenants = TENANTS.replace("{map}", translated)
    if mapped:
        tenants = tenants.replace('connection.exec_driver_sql(f"SET search_path TO {tenant}")', "pass")
    generic.edit_env("\n    with connectable.connect() as connection:", tenants)
    generic.revision("0001")
    generic.alembic("upgrade", "head")
    generic.revision("0002", "op.create_unique_constraint_online('uq', 't', ['k'])", *reads_data("op.drop_table('x')"))

    reports = generic.reports("preflight", code=1)
    assert [("tenant_a", 0), ("tenant_b", 1)] == [(r["schema"], r["extras"]) for r in reports[-2:]]
    assert ["tenant_a", "tenant_b"] == [
        tenant for tenant in ("tenant_a", "tenant_b") if f", {tenant}" in messages(reports[:-2])
    ]
