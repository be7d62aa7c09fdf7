-- Purpose: decide for each row of a table whether it is an extra under one key, exact or divergent, and referenced.
-- Lock: ACCESS SHARE.
-- Again: yes, it only reads.
SELECT ranked.location, ranked.has_null, ranked.referenced, ranked.place > 1 AND ranked.countable AS extra,
       ranked.payload = ranked.first_payload AS same
FROM (
    SELECT t.location, t.has_null, t.referenced, t.countable, t.payload,
           pg_catalog.row_number() OVER w AS place, pg_catalog.first_value(t.payload) OVER w AS first_payload
    FROM (SELECT ROW({alias}.tableoid, {alias}.ctid)::pg_catalog.text AS location,
                 {has_null} AS has_null, {countable} AS countable, {referenced} AS referenced,
                 ROW({payload})::pg_catalog.text AS payload, {keys}, pg_catalog.row_number() OVER (ORDER BY {order_by}) AS number
          FROM {table} AS {alias}
          WHERE {predicate}) AS t
    WINDOW w AS (PARTITION BY {key_names} ORDER BY t.number)
) AS ranked
