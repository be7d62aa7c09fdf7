-- Purpose: adopt the finished index as a constraint; the catalog changes, nothing is scanned.
-- Lock: ACCESS EXCLUSIVE on the table, for an instant; callers set lock_timeout first.
-- Again: no; callers ask for the index's state.
ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}{form}
