-- Purpose: derive which archived columns can be put back into the table, and which are missing, moved or have another type there.
-- Lock: ACCESS SHARE on dupe_audit.run, until the transaction ends.
-- Again: yes, it only reads.
WITH run AS (
    SELECT r.amended + r.merged > 0 AS changes_rows, r.archived_columns, r.archived_numbers, r.archived_generated,
           -- A dump numbers the columns again, in the same order.
           r.relation::pg_catalog.oid IS DISTINCT FROM r.relid
               OR r.ledger_oid IS DISTINCT FROM 'dupe_audit.run'::pg_catalog.regclass::pg_catalog.oid AS reloaded
    FROM dupe_audit.run r WHERE r.id = {run}
), recorded AS (
    SELECT u.name, u.number
    FROM run CROSS JOIN LATERAL unnest(run.archived_columns, run.archived_numbers) AS u(name, number)
    WHERE u.number IS NOT NULL
), live AS (
    SELECT a.attname, a.attnum, a.atttypid, a.atttypmod, a.attgenerated <> '' AS generated,
           a.attgenerated <> '' AND a.attname::pg_catalog.text = ANY (coalesce(run.archived_generated, ARRAY[]::pg_catalog.text[])) AS computed
    FROM pg_catalog.pg_attribute a CROSS JOIN run
    WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
), placed AS (
    SELECT live.attname,
           CASE WHEN run.reloaded
                THEN pg_catalog.rank() OVER (ORDER BY live.attnum) <> pg_catalog.rank() OVER (ORDER BY recorded.number)
                -- A column that was replaced by a new one of its name is that column; the old one is gone.
                ELSE live.attnum <> recorded.number
                     AND (EXISTS (SELECT FROM live other WHERE other.attnum = recorded.number)
                          OR EXISTS (SELECT FROM recorded other WHERE other.number = live.attnum))
           END AS moved
    FROM recorded JOIN live ON live.attname = recorded.name CROSS JOIN run
), archived AS (
    SELECT a.attname, a.attnum, a.atttypid, a.atttypmod
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = {archive}::pg_catalog.regclass::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attname::pg_catalog.text !~ '^dupe_audit_'
)
SELECT CASE WHEN (SELECT run.changes_rows FROM run) THEN 'dupe_audit_kind = ''removed''' ELSE 'true' END AS is_removed,
       pg_catalog.string_agg(pg_catalog.format('%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE NOT live.generated) AS columns,
       pg_catalog.string_agg(pg_catalog.format('a.%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE NOT live.generated) AS a_columns,
       -- A column that PostgreSQL computed then and computes now is derived from the others, perhaps by a new expression.
       pg_catalog.string_agg(pg_catalog.format('t.%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE NOT live.computed) AS t_compared,
       pg_catalog.string_agg(pg_catalog.format('a.%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE NOT live.computed) AS a_compared,
       pg_catalog.string_agg(pg_catalog.format('put.%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE NOT live.computed) AS put_compared,
       pg_catalog.string_agg(pg_catalog.format('%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE live.generated AND NOT live.computed) AS generated_since,
       pg_catalog.string_agg(pg_catalog.format('%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE live.attname IS NULL) AS gone,
       pg_catalog.string_agg(pg_catalog.format('%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE live.atttypid <> archived.atttypid OR live.atttypmod <> archived.atttypmod) AS retyped,
       pg_catalog.string_agg(pg_catalog.format('%I', archived.attname), ', ' ORDER BY archived.attnum)
           FILTER (WHERE archived.attname IN (SELECT placed.attname FROM placed WHERE placed.moved)) AS moved
FROM archived LEFT JOIN live USING (attname)
