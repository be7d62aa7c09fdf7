-- Purpose: let the server write expressions in its own form, in which equal expressions have equal text, but which shows no collation; nothing is computed.
-- Lock: ACCESS SHARE on the table.
-- Again: yes, it only plans.
EXPLAIN (FORMAT JSON, COSTS false, VERBOSE) SELECT {expressions} FROM {source}
