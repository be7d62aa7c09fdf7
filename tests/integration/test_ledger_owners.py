"""Who can use which ledger: owners of tables and databases, members of roles, and roles that only read."""

import pytest
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.errors import Refused
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.restore import restore
from dupe_audit.verify import verify
from dupe_audit.watch.look import look

KEY = UniqueKey(table="t", columns=("k",), name="uq")


@pytest.fixture
def app(sql, member, connect, value):
    """A role that owns a table, has cleaned it, and so owns the ledger."""
    database = value("SELECT current_database()")
    sql(f'GRANT CREATE, TEMPORARY ON DATABASE "{database}" TO {member}; GRANT CREATE ON SCHEMA public TO {member}')
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    sql(f"ALTER TABLE t OWNER TO {member}")
    list(cleanup(connect(role=member), KEY, CleanupRule()))
    yield member
    sql(f'ALTER DATABASE "{database}" OWNER TO postgres; DROP OWNED BY {member}')


def test_owner_uses_its_ledger(app, connect, dump):
    """The owner of table and ledger does everything."""
    assert [1] == [run.id for run, _ in ledger.find_runs(connect(role=app), "true")]
    list(restore(connect(role=app), 1))
    assert ["(1,7)", "(2,7)"] == dump("t")


def test_superuser_uses_the_ledger_of_the_tables_owner(app, conn, dump):
    """A superuser that works on a table trusts its owner with the ledger, because its triggers are executed anyway."""
    assert verify(conn, KEY).run
    with pytest.raises(Refused, match=f"the schema belongs to role {app}"):
        list(restore(conn, 1))
    relid = conn.exec_driver_sql("SELECT 't'::regclass::oid::int8").scalar_one()
    list(restore(conn, 1, relid=relid))
    assert ["(1,7)", "(2,7)"] == dump("t")


def test_superuser_uses_the_ledger_of_the_databases_owner(app, sql, conn, value):
    """The owner of the database is trusted with the ledger by everybody."""
    with pytest.raises(Refused, match="untrusted-ledger"):
        ledger.find_runs(conn, "true")
    sql(f'ALTER DATABASE "{value("SELECT current_database()")}" OWNER TO {app}')
    assert [1] == [run.id for run, _ in ledger.find_runs(conn, "true")]
    list(restore(conn, 1))


def test_member_uses_the_ledger_and_a_viewer_looks_at_it(app, sql, connect):
    """A member of the owner does everything; a role with SELECT alone looks, and changes nothing."""
    for role in ("viewer", "group"):
        sql(f"CREATE ROLE {app}_{role}")
    try:
        sql(f"GRANT {app} TO {app}_group")
        sql(f"GRANT USAGE ON SCHEMA dupe_audit TO {app}_viewer")
        sql(f"GRANT SELECT ON dupe_audit.run, dupe_audit.batch, dupe_audit.child TO {app}_viewer")
        viewer = connect(role=f"{app}_viewer")
        assert [1] == [run.id for run, _ in ledger.find_runs(viewer, "true", reading=True)]
        (recorded,) = ledger.find_runs(viewer, "true", reading=True)
        assert [] == ledger.archive_findings(viewer, recorded.run)
        assert look(viewer).ledger
        with pytest.raises((Refused, DBAPIError)):
            list(restore(viewer, 1))
        list(restore(connect(role=f"{app}_group"), 1))
    finally:
        sql(f"DROP OWNED BY {app}_viewer, {app}_group; DROP ROLE {app}_viewer, {app}_group")
