-- Purpose: build the unique index while the application reads and writes.
-- Lock: SHARE UPDATE EXCLUSIVE on the table: blocks DDL and VACUUM, no reads, no writes.
-- Again: no; a failed build leaves an invalid index, which callers drop. Never IF NOT EXISTS: it calls that a success (H49).
CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({key_columns}){include}{nulls}
