-- Purpose: ask the server which unique indexes can be the arbiter of a key for a part of the table; nothing is inserted.
-- Lock: ROW EXCLUSIVE on the table.
-- Again: yes, it only plans.
EXPLAIN (FORMAT JSON, COSTS false)
INSERT INTO {table} ({key}) VALUES ({nulls}) ON CONFLICT ({key}) WHERE ({where}) DO NOTHING
