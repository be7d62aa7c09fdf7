-- Purpose: count, by one foreign key, the children of staged extras of a reference or Citus-local table, on every node.
-- Lock: ACCESS SHARE on the table, the child and the staged list, until the transaction ends.
-- Again: yes, it only reads.
-- A pair to which the application has given different keys since the ranking does not count.
-- The count is not kept per extra: Citus cannot update a local list by a join with a distributed child.
SELECT pg_catalog.count(*) AS rows, pg_catalog.count(*) FILTER (WHERE NOT ({v_not_null})) AS unlinked
FROM {stage} s
JOIN ONLY {table} e ON {e_is_extra}{e_key_values}
JOIN ONLY {table} v ON {v_is_survivor}{v_key_values}
JOIN {referencing} c ON {condition}
WHERE {same_key}
