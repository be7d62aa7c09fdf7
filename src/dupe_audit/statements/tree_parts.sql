-- Purpose: list the tables of a tree whose own part of the constraint or index is missing, invalid or checked at another time.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH RECURSIVE part AS (
    SELECT {relid}::pg_catalog.oid AS relid, {index}::pg_catalog.oid AS own
    UNION ALL
    SELECT h.inhrelid,
           (SELECT i.indexrelid FROM pg_catalog.pg_inherits ih JOIN pg_catalog.pg_index i ON i.indexrelid = ih.inhrelid
            WHERE ih.inhparent = part.own AND i.indrelid = h.inhrelid)
    FROM part JOIN pg_catalog.pg_inherits h ON h.inhparent = part.relid AND NOT h.inhdetachpending
), judged AS (
    SELECT part.relid,
           CASE WHEN part.own IS NULL THEN 'none is attached'
                WHEN NOT i.indisvalid THEN 'its index is invalid'
                WHEN {is_constraint} AND (con.oid IS NULL OR con.condeferrable <> {deferrable} OR con.condeferred <> {deferred})
                    THEN 'its constraint is checked at another time' END AS problem
    FROM part
    LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = part.own
    LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = part.own AND con.contype = 'u'
)
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS table, judged.problem
FROM judged
JOIN pg_catalog.pg_class c ON c.oid = judged.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
-- Another finding reports what is wrong with the root itself.
WHERE judged.problem IS NOT NULL AND judged.relid <> {relid}::pg_catalog.oid
ORDER BY c.oid
