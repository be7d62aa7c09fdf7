-- Purpose: insert one row whose key cannot be looked up, or whose conflict has to be an error that names its index.
-- Lock: ROW EXCLUSIVE on the table; waits for a transaction that is inserting the same key, once an index is there.
-- Again: it inserts again, until a constraint is there.
INSERT INTO {table} AS t ({columns}) VALUES ({values}) {conflict} RETURNING true AS inserted, true AS same, {identity}
