-- Purpose: drop the constraint and its index.
-- Lock: ACCESS EXCLUSIVE on the table, for an instant; callers set lock_timeout first.
-- Again: yes.
ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}
