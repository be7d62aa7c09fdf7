-- Purpose: let the planner say whether two expressions have the same value and the same collations for every row; nothing is computed.
-- Lock: ACCESS SHARE on the table.
-- Again: yes, it only plans.
-- The planner's text does not show collations, but it sorts only once by what it knows to be equal. No index can have the random order.
EXPLAIN (FORMAT JSON, COSTS false, VERBOSE)
SELECT ({first}) AS k1, ({second}) AS k2 FROM {source} ORDER BY pg_catalog.random(), k1, k2
