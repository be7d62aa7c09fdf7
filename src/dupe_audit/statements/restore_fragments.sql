-- Purpose: derive which archived columns go back into the table, and what stands in their way.
-- Lock: none beyond catalogs.
-- Again: yes, it reads.
WITH live AS (
    SELECT a.attname, a.attnum, a.atttypid, a.atttypmod, a.attgenerated <> '' AS generated
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
), kept AS (
    SELECT a.attname, a.attnum, a.atttypid, a.atttypmod
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = {archive}::pg_catalog.regclass::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attname::pg_catalog.text !~ '^dupe_audit_'
)
SELECT pg_catalog.string_agg(pg_catalog.format('%I', kept.attname), ', ' ORDER BY kept.attnum)
           FILTER (WHERE NOT live.generated) AS columns,
       pg_catalog.string_agg(pg_catalog.format('a.%I', kept.attname), ', ' ORDER BY kept.attnum)
           FILTER (WHERE NOT live.generated) AS a_columns,
       pg_catalog.string_agg(pg_catalog.format('t.%I', kept.attname), ', ' ORDER BY kept.attnum)
           FILTER (WHERE live.attname IS NOT NULL) AS t_compared,
       pg_catalog.string_agg(pg_catalog.format('a.%I', kept.attname), ', ' ORDER BY kept.attnum)
           FILTER (WHERE live.attname IS NOT NULL) AS a_compared,
       pg_catalog.string_agg(pg_catalog.format('put.%I', kept.attname), ', ' ORDER BY kept.attnum)
           FILTER (WHERE live.attname IS NOT NULL) AS put_compared,
       pg_catalog.string_agg(pg_catalog.format('%I', kept.attname), ', ' ORDER BY kept.attnum)
           FILTER (WHERE live.attname IS NULL) AS gone,
       pg_catalog.string_agg(pg_catalog.format('%I', kept.attname), ', ' ORDER BY kept.attnum)
           FILTER (WHERE live.atttypid <> kept.atttypid OR live.atttypmod <> kept.atttypmod) AS retyped
FROM kept LEFT JOIN live USING (attname)
