-- Purpose: build the unique index while the application reads and writes.
-- Lock: SHARE UPDATE EXCLUSIVE on the table, until the build ends: it blocks DDL and VACUUM, but no reads and no writes.
-- Again: no; a failed build leaves an invalid index, which callers drop first (drop_index).
-- Never IF NOT EXISTS: it reports success if an invalid index of that name exists (H49).
CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({key_columns}){include}{nulls}{options}{where}
