-- Purpose: let the server read a predicate, and let the planner show whether it can be true for any row; nothing is executed.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only plans.
EXPLAIN (FORMAT JSON, COSTS false) SELECT FROM {source} WHERE ({predicate})
