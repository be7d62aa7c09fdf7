"""Who holds a lock on the table, as messages name it."""

from collections.abc import Callable

import psycopg
from sqlalchemy import Connection

from conftest import Sql
from dupe_audit.postgres import locking


def test_role_without_statistics_rights_learns_who_holds_the_lock(
    sql: Sql, database_url: str, connect: Callable[..., Connection], member: str
) -> None:
    """An ordinary role sees no state or age of another role's session, and still learns its pid and lock."""
    sql(f"CREATE TABLE t (id int); ALTER TABLE t OWNER TO {member}")
    relid = sql("SELECT 't'::regclass::oid::int")[0][0]
    ordinary = connect(role=member)
    url = database_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url, application_name="report") as holder:
        holder.execute("LOCK TABLE t IN ACCESS SHARE MODE")
        described = locking.holders(ordinary, relid)
        pid = holder.info.backend_pid
    assert described.startswith(f"pid {pid} (")
    assert "state hidden, AccessShareLock)" in described
    assert "open for" not in described
