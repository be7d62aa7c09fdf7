-- Purpose: ask the server which unique indexes can be the arbiter of a key with expressions or a predicate; nothing is inserted.
-- Lock: ROW EXCLUSIVE on the table.
-- Again: yes, it only plans.
EXPLAIN (FORMAT JSON, COSTS false)
INSERT INTO {table} AS {alias} DEFAULT VALUES ON CONFLICT {conflict_target} DO NOTHING
