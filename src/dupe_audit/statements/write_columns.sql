-- Purpose: read the types of the columns of a row: as which a value is sent, compared with a stored one, and stored.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH RECURSIVE col AS (
    SELECT w.ord, w.name, a.atttypid, a.atttypmod, a.attcollation,
           a.attgenerated <> '' AS generated, a.attidentity = 'a' AS always
    FROM pg_catalog.unnest({names}) WITH ORDINALITY AS w(name, ord)
    JOIN pg_catalog.pg_attribute a ON a.attname = w.name
    WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
), down AS (
    -- A cast to a domain over varchar(3) truncates silently what an assignment rejects; so casts name the base type.
    SELECT ord, atttypid AS typ, atttypmod AS typmod FROM col
    UNION ALL
    SELECT d.ord, t.typbasetype, t.typtypmod
    FROM down d JOIN pg_catalog.pg_type t ON t.oid = d.typ
    WHERE t.typtype = 'd'
)
SELECT col.name, col.generated, col.always, base.typname::pg_catalog.text AS base_type,
       -- Without a length, because a cast would truncate to it.
       pg_catalog.format_type(base.oid, -1) AS sent_as,
       -- With the column's precision, so that a number is rounded; without a length, to which a cast would truncate.
       CASE WHEN has.length THEN pg_catalog.format_type(base.oid, -1)
            ELSE pg_catalog.format_type(base.oid, d.typmod) END AS compared_as,
       pg_catalog.format_type(col.atttypid, col.atttypmod) AS stored_as,
       has.length AND d.typmod >= 0 AS truncates,
       -- Its author's own function can read a text differently from the type's input; regclass takes no number then.
       EXISTS (SELECT FROM pg_catalog.pg_cast ct
               WHERE ct.castsource = 'pg_catalog.text'::pg_catalog.regtype::pg_catalog.oid AND ct.casttarget = base.oid AND ct.castmethod = 'f') AS own_cast,
       CASE WHEN co.oid IS NULL THEN '' ELSE pg_catalog.format(' COLLATE %I.%I', co_ns.nspname, co.collname) END AS collation
FROM col
JOIN down d ON d.ord = col.ord
JOIN pg_catalog.pg_type base ON base.oid = d.typ AND base.typtype <> 'd'
LEFT JOIN pg_catalog.pg_type element ON element.oid = base.typelem AND base.typcategory = 'A'
-- Texts, strings of bits, and arrays of these.
CROSS JOIN LATERAL (SELECT coalesce(element.typcategory, base.typcategory) IN ('S', 'V') AS length) AS has
LEFT JOIN pg_catalog.pg_collation co ON co.oid = col.attcollation
LEFT JOIN pg_catalog.pg_namespace co_ns ON co_ns.oid = co.collnamespace
ORDER BY col.ord
