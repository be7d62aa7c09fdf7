-- Purpose: let the planner say whether two expressions have the same value and the same collations for every row; nothing is computed.
-- Lock: ACCESS SHARE on the table.
-- Again: yes, it only plans.
-- The planner's text does not show collations, but the planner sorts only once by expressions that it knows to be equal. Ordering by random() first keeps it from using an index.
EXPLAIN (FORMAT JSON, COSTS false, VERBOSE)
SELECT ({first}) AS k1, ({second}) AS k2 FROM {source} ORDER BY pg_catalog.random(), k1, k2
