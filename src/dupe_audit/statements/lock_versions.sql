-- Purpose: keep other processes from stamping a revision until Alembic has committed its own stamp.
-- Lock: SHARE ROW EXCLUSIVE on Alembic's version table, until Alembic's transaction ends: it can still be read.
-- Again: yes.
LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE
