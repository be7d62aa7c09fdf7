-- Purpose: create the constraint on one level of a tree alone; it becomes valid when every leaf has its part.
-- Lock: ACCESS EXCLUSIVE on that level, for an instant, and none on its leaves; callers set lock_timeout first.
-- Again: no; callers read the state first (index_state).
ALTER TABLE ONLY {table} ADD CONSTRAINT {name} UNIQUE{nulls} ({key_columns}){include}{form}
