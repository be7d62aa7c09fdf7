-- Purpose: count the tried rows whose entry in another unique index is new, and the same as that of another row.
-- Lock: ACCESS SHARE on the table and the staged list, until the transaction ends.
-- Again: yes, it only reads.
WITH entry AS MATERIALIZED (
    SELECT new.*
    FROM pg_temp.dupe_audit_trial x
    JOIN {stage} s ON s.n = x.dupe_audit_n
    JOIN ONLY {table} {changed_row} ON {is_changed_row}
    CROSS JOIN LATERAL (SELECT {entry} FROM (SELECT x.*) AS {relation} WHERE {predicate}) AS new
    LEFT JOIN LATERAL (SELECT {entry} FROM (SELECT {changed_row}.*) AS {relation} WHERE {predicate}) AS old ON true
    WHERE NOT pg_catalog.record_eq(ROW({new_entry}), ROW({old_entry}))
), present AS (
    SELECT {entry}, false AS tried FROM ONLY {table} AS {relation} WHERE {predicate} AND {stays}
)
SELECT coalesce(pg_catalog.sum(taken.rows), 0)::pg_catalog.int8
FROM (
    SELECT pg_catalog.count(*) FILTER (WHERE tried) AS rows
    FROM (SELECT entry.*, true AS tried FROM entry UNION ALL SELECT present.* FROM present) AS both_sides
    WHERE {comparable}
    GROUP BY {entry_names}
    HAVING pg_catalog.bool_or(tried) AND pg_catalog.count(*) > 1
) AS taken
