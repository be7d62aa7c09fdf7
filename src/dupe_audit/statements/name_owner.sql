-- Purpose: find what has the name of a constraint to be dropped: a constraint or an index of the table, or an index of another table; and what depends on it.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT con.contype::pg_catalog.text AS kind, i.indexrelid IS NOT NULL AS is_index, coalesce(i.indisunique, false) AS is_unique,
       (SELECT pg_catalog.min(oi.indrelid::pg_catalog.regclass::pg_catalog.text)
        FROM pg_catalog.pg_class oc JOIN pg_catalog.pg_index oi ON oi.indexrelid = oc.oid
        WHERE oc.relname = {name} AND oc.relnamespace = c.relnamespace AND oi.indrelid <> c.oid) AS other_table,
       whole.name AS whole, whole.table AS whole_table,
       (SELECT pg_catalog.string_agg(pg_catalog.format('%I on %s', fk.conname, fk.conrelid::pg_catalog.regclass), ', ' ORDER BY fk.conname)
        FROM pg_catalog.pg_constraint fk
        WHERE fk.contype = 'f' AND fk.confrelid = c.oid AND fk.conindid = coalesce(con.conindid, i.indexrelid)) AS foreign_keys,
       -- Without its replica identity, a table rejects the updates and deletes that a publication sends.
       (SELECT pg_catalog.string_agg(pg_catalog.format('%I', p.pubname), ', ' ORDER BY p.pubname)
        FROM pg_catalog.pg_publication p
        JOIN pg_catalog.pg_publication_tables pt ON pt.pubname = p.pubname
        JOIN pg_catalog.pg_namespace n ON n.nspname = pt.schemaname
        JOIN pg_catalog.pg_index identity ON identity.indexrelid = coalesce(con.conindid, i.indexrelid)
        WHERE (p.pubdelete OR p.pubupdate) AND n.oid = c.relnamespace AND pt.tablename = c.relname
          AND identity.indisreplident AND c.relreplident = 'i') AS publications
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_constraint con ON con.conrelid = c.oid AND con.conname = {name}
LEFT JOIN pg_catalog.pg_class ic ON ic.relname = {name} AND ic.relnamespace = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = ic.oid AND i.indrelid = c.oid
LEFT JOIN LATERAL ({whole}) AS whole ON true
WHERE c.oid = {relid}::pg_catalog.oid
