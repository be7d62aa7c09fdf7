-- Purpose: let the planner show whether an expression is volatile: otherwise it merges the subquery into the outer query. Nothing is executed.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only plans.
EXPLAIN (FORMAT JSON, COSTS false)
SELECT FROM (SELECT ({expression}) AS value FROM {source}) AS dupe_audit_apart WHERE value IS NOT NULL
