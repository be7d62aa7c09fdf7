-- Purpose: tell of each row of a table whether it is an extra under one key, and of which kind.
-- Lock: ACCESS SHARE.
-- Again: yes, it reads.
SELECT ranked.place_in_table, ranked.has_null, ranked.referenced, ranked.place > 1 AND ranked.counts AS extra,
       ranked.rest = ranked.first_rest AS same
FROM (
    SELECT t.place_in_table, t.has_null, t.referenced, t.counts, t.rest,
           pg_catalog.row_number() OVER w AS place, pg_catalog.first_value(t.rest) OVER w AS first_rest
    FROM (SELECT ROW({alias}.tableoid, {alias}.ctid)::pg_catalog.text AS place_in_table,
                 {has_null} AS has_null, {counts} AS counts, {referenced} AS referenced,
                 ROW({rest})::pg_catalog.text AS rest, {keys}, pg_catalog.row_number() OVER (ORDER BY {order_by}) AS number
          FROM {table} AS {alias}
          WHERE {predicate}) AS t
    WINDOW w AS (PARTITION BY {key_names} ORDER BY t.number)
) AS ranked
