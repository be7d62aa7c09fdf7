-- Purpose: with a new snapshot, judge the locked rows again, and move those that are still extras into the archive.
-- Lock: ROW EXCLUSIVE on the table and the archive, until the batch commits; the rows are locked already.
-- Again: no; once per batch, after lock_rows, in the same READ COMMITTED transaction.
WITH judged AS MATERIALIZED (
    -- A locked row cannot move until this transaction commits, so its ctid identifies it, and is the cheapest to join by.
    SELECT l.e_tid AS tid, {v_identity_as_survivor}, {v_key_as_k}{and_l_n}
    FROM pg_temp.dupe_audit_locked l
    JOIN ONLY {table} e ON e.ctid = l.e_tid{e_key_values}
    JOIN ONLY {table} v ON v.ctid = l.s_tid{v_key_values}
    WHERE {same_key}
      AND ({same_data} OR NOT {refuse_divergent})
      AND {e_unreferenced}
), deleted AS (
    DELETE FROM ONLY {table} t
    USING judged j
    WHERE t.ctid = j.tid AND {t_still_key}
    RETURNING {t_columns}, {j_survivor}{and_j_n}
), archived AS (
    INSERT INTO {archive} ({columns}, {survivor_columns}, dupe_audit_batch{and_archived_n}{and_leaf})
    SELECT {deleted_columns}, {deleted_survivor}, {batch}{and_deleted_n}{and_its_leaf} FROM deleted
    RETURNING dupe_audit_id
)
SELECT (SELECT pg_catalog.count(*) FROM judged) AS judged,
       (SELECT pg_catalog.count(*) FROM deleted) AS deleted,
       (SELECT pg_catalog.count(*) FROM archived) AS archived,
       (SELECT pg_catalog.min(archived.dupe_audit_id) FROM archived) AS first_id,
       (SELECT pg_catalog.md5(pg_catalog.string_agg(
                   pg_catalog.format('%s %s %s %s', a.attnum, a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
               -- A foreign key that was created after the others were listed would delete children unseen (H99).
               || (SELECT coalesce(pg_catalog.string_agg(con.oid::pg_catalog.text, ',' ORDER BY con.oid), '')
                   FROM pg_catalog.pg_constraint con WHERE con.confrelid = {relid}::pg_catalog.oid AND con.contype = 'f'))
        FROM pg_catalog.pg_attribute a
        -- A table that was re-created under the name has another oid, and no digest (H69).
        WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attrelid = pg_catalog.to_regclass({table_name})::pg_catalog.oid
          AND a.attnum > 0 AND NOT a.attisdropped) AS columns_digest
