-- Purpose: count the rows of a batch, and those of them that are not in the table as they are in the archive, byte for byte.
-- Lock: ACCESS SHARE on the table and the archive, until the batch commits.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) AS chosen,
       pg_catalog.count(*) FILTER (WHERE t.dupe_audit_same IS NOT TRUE) AS changed
FROM {archive} a
LEFT JOIN LATERAL (SELECT pg_catalog.record_image_eq(ROW({t_compared}), ROW({a_compared})) AS dupe_audit_same
                   FROM ONLY {table} t WHERE {t_is_a}) AS t ON true
WHERE a.dupe_audit_id BETWEEN {low} AND {high} AND a.dupe_audit_restored_at IS NULL
