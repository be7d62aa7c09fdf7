-- Purpose: create the unique index on one level of a tree alone; it becomes valid when every leaf has its part.
-- Lock: SHARE on that level, for an instant, and none on its leaves; callers set lock_timeout first.
-- Again: no; callers read the state first (index_state).
CREATE UNIQUE INDEX {name} ON ONLY {table} ({key_columns}){include}{nulls}{options}{where}
