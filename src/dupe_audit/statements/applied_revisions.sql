-- Purpose: list the revisions that Alembic's version table names as applied.
-- Lock: ACCESS SHARE on the version table.
-- Again: yes, it only reads.
SELECT version_num FROM {table}
