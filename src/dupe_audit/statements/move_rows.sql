-- Purpose: with a new snapshot, judge the locked rows again; delete what is still an extra, straight into the archive.
-- Lock: ROW EXCLUSIVE on the table, and the row locks that the batch holds already.
-- Again: no; once per batch, after lock_rows, in the same READ COMMITTED transaction.
WITH judged AS MATERIALIZED (
    -- A locked row cannot move until we commit, so its ctid is its identity here, and the cheapest one.
    SELECT extra.tid, {v_identity_as_survivor}, {v_key_as_k}
    FROM pg_temp.dupe_audit_locked extra
    JOIN pg_temp.dupe_audit_locked kept ON kept.n = extra.n AND kept.survivor
    JOIN ONLY {table} e ON e.ctid = extra.tid
    JOIN ONLY {table} v ON v.ctid = kept.tid
    WHERE NOT extra.survivor
      AND {same_key}
      AND ({same_data} OR NOT {refuse_divergent})
      AND {e_unreferenced}
), gone AS (
    DELETE FROM ONLY {table} t
    USING judged j
    WHERE t.ctid = j.tid AND {t_still_key}
    RETURNING {t_columns}, {j_survivor}
), kept AS (
    INSERT INTO {archive} ({columns}, {survivor_columns}, dupe_audit_batch)
    SELECT {gone_columns}, {gone_survivor}, {batch} FROM gone
    RETURNING 1
)
SELECT (SELECT count(*) FROM judged) AS judged,
       (SELECT count(*) FROM gone) AS deleted,
       (SELECT count(*) FROM kept) AS archived,
       (SELECT pg_catalog.md5(pg_catalog.string_agg(
                   pg_catalog.format('%s %s %s %s', a.attnum, a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
               -- A foreign key that came after the others were listed would delete children that nobody looked for (H99).
               || (SELECT coalesce(pg_catalog.string_agg(con.oid::pg_catalog.text, ',' ORDER BY con.oid), '')
                   FROM pg_catalog.pg_constraint con WHERE con.confrelid = {relid}::pg_catalog.oid AND con.contype = 'f'))
        FROM pg_catalog.pg_attribute a
        -- A table made anew under the name has another oid, and no digest (H69).
        WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attrelid = pg_catalog.to_regclass({table_name})::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns_digest
