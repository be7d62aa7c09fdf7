-- Purpose: record the columns of a run's table by name and number, and which of them PostgreSQL computes.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes; a column that the archive has and the table lost keeps its name, and has no number.
UPDATE dupe_audit.run r
SET archived_columns = c.names, archived_numbers = c.numbers, archived_generated = c.generated
FROM (
    SELECT pg_catalog.array_agg(coalesce(a.attname::pg_catalog.text, b.name) ORDER BY a.attnum) AS names,
           pg_catalog.array_agg(a.attnum ORDER BY a.attnum) AS numbers,
           pg_catalog.array_agg(a.attname::pg_catalog.text) FILTER (WHERE a.attgenerated <> '') AS generated
    FROM (SELECT * FROM pg_catalog.pg_attribute WHERE attrelid = {relid}::pg_catalog.oid AND attnum > 0 AND NOT attisdropped) AS a
    FULL JOIN (
        SELECT u.name FROM dupe_audit.run o, pg_catalog.unnest(o.archived_columns) AS u(name) WHERE o.id = {run}
    ) AS b ON b.name = a.attname::pg_catalog.text
) AS c
WHERE r.id = {run}
