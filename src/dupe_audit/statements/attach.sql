-- Purpose: adopt the finished index as a constraint; only the catalog changes, and no row is read.
-- Lock: ACCESS EXCLUSIVE on the table, for an instant; callers set lock_timeout first.
-- Again: no; callers read the index's state first (index_state).
ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}{form}
