-- Purpose: insert one row whose key cannot be looked up, or whose conflict must be an error that names the index.
-- Lock: ROW EXCLUSIVE on the table; waits for a transaction that is inserting the same key, if a unique index exists.
-- Again: no; it inserts the row again, unless a unique index prevents it.
INSERT INTO {table} AS {alias} ({columns}) VALUES ({values}) {conflict} RETURNING true AS inserted, true AS same, {identity}
