-- Purpose: derive which archived columns can be put back into the table, and which are missing or have another type there.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH live AS (
    SELECT a.attname, a.attnum, a.atttypid, a.atttypmod, a.attgenerated <> '' AS generated
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
), archived AS (
    SELECT a.attname, a.attnum, a.atttypid, a.atttypmod
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = {archive}::pg_catalog.regclass::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attname::pg_catalog.text !~ '^dupe_audit_'
)
SELECT pg_catalog.string_agg(pg_catalog.format('%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE NOT live.generated) AS columns,
       pg_catalog.string_agg(pg_catalog.format('a.%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE NOT live.generated) AS a_columns,
       pg_catalog.string_agg(pg_catalog.format('t.%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE live.attname IS NOT NULL) AS t_compared,
       pg_catalog.string_agg(pg_catalog.format('a.%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE live.attname IS NOT NULL) AS a_compared,
       pg_catalog.string_agg(pg_catalog.format('put.%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE live.attname IS NOT NULL) AS put_compared,
       pg_catalog.string_agg(pg_catalog.format('%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE live.attname IS NULL) AS gone,
       pg_catalog.string_agg(pg_catalog.format('%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE live.atttypid <> archived.atttypid OR live.atttypmod <> archived.atttypmod) AS retyped
FROM archived LEFT JOIN live USING (attname)
