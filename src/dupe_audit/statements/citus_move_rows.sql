-- Purpose: move the rows that were judged, given as literals, into the archive.
-- Lock: ROW EXCLUSIVE on the table, on every node that has a copy, and on the archive, until the batch commits.
-- Again: no; once per batch, after citus_judge_extras, in the same transaction.
WITH deleted AS (
    DELETE FROM ONLY {table} t
    USING (VALUES {rows}) AS j({j_columns})
    WHERE {t_is_j} AND {t_still_key}
    RETURNING {t_columns}, {j_survivor}
), archived AS (
    INSERT INTO {archive} ({columns}, {survivor_columns}, dupe_audit_batch)
    SELECT {deleted_columns}, {deleted_survivor}, {batch} FROM deleted
    RETURNING dupe_audit_id
)
SELECT (SELECT pg_catalog.count(*) FROM deleted) AS deleted, (SELECT pg_catalog.count(*) FROM archived) AS archived
