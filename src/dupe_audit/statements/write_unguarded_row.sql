-- Purpose: insert one row while the key has no valid constraint; with no target, a conflict with an index being built is none of the application's errors.
-- Lock: ROW EXCLUSIVE on the table; waits for a transaction that is inserting the same key, once an index is there.
-- Again: it inserts again, until a constraint is there.
INSERT INTO {table} AS t ({columns}) VALUES ({values}){conflict} RETURNING true AS inserted, true AS same, {identity}
