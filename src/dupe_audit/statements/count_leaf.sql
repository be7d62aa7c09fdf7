-- Purpose: count the extras of a leaf, its rows, and those that do not belong to it, because a hash function or collation has changed since.
-- Lock: ACCESS SHARE on the leaf, until the transaction ends.
-- Again: yes, it only reads.
-- Not WHERE NOT (bounds): with constraint_exclusion = on, the planner would not look for such rows.
SELECT ({extras}) AS extras, pg_catalog.count(*) AS rows, pg_catalog.count(*) FILTER (WHERE NOT ({bounds})) AS misplaced
FROM ONLY {table}
