-- Purpose: count, by one foreign key, the children of each staged extra, and those whose survivor cannot be referenced.
-- Lock: ACCESS SHARE on the table and the child, ROW EXCLUSIVE on the staged list, until the transaction ends.
-- Again: no; once per ranking and foreign key.
-- A pair to which the application has given different keys since the ranking does not count.
WITH counted AS (
    SELECT s.n, pg_catalog.count(*) AS children, pg_catalog.count(*) FILTER (WHERE NOT ({v_not_null})) AS unlinked
    FROM {stage} s
    JOIN ONLY {table} e ON {e_is_extra}{e_key_values}
    JOIN ONLY {table} v ON {v_is_survivor}{v_key_values}
    JOIN {source} c ON {condition}
    WHERE {s_archives} AND {same_key}
    GROUP BY s.n
), noted AS (
    UPDATE {stage} s SET children = s.children + k.children
    FROM counted k
    WHERE s.n = k.n
    RETURNING k.children, k.unlinked
)
SELECT coalesce(pg_catalog.sum(children), 0)::pg_catalog.int8 AS rows, coalesce(pg_catalog.sum(unlinked), 0)::pg_catalog.int8 AS unlinked FROM noted
