-- Purpose: count extras, rows with a NULL in a key, and referenced extras; each row counts once.
-- Lock: ACCESS SHARE.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) FILTER (WHERE judged.extra AND judged.same) AS exact,
       pg_catalog.count(*) FILTER (WHERE judged.extra AND NOT judged.same) AS divergent,
       pg_catalog.count(*) FILTER (WHERE judged.has_null) AS null_keys,
       pg_catalog.count(*) FILTER (WHERE judged.extra AND judged.referenced) AS referenced
FROM (
    SELECT pg_catalog.bool_or(part.extra) AS extra, pg_catalog.bool_or(part.extra AND part.same) AS same,
           pg_catalog.bool_or(part.has_null) AS has_null, pg_catalog.bool_or(part.referenced) AS referenced
    FROM ({parts}) AS part
    GROUP BY part.location
) AS judged
