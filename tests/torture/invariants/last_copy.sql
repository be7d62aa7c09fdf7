-- When a row was archived, its survivor was there and held the same key.
WITH archive AS MATERIALIZED (
    SELECT * FROM archived()
), judged AS (
    SELECT a.id, a.survivor, CASE
        WHEN s.op IS NULL THEN 'had not been inserted'
        WHEN s.op = 'delete' THEN 'had been deleted'
        WHEN s.k <> a.k THEN 'had another key'
        WHEN EXISTS (SELECT FROM archive gone
                     WHERE gone.id = a.survivor AND gone.moment <= a.moment
                       AND (gone.restored_at IS NULL OR gone.restored_at > a.moment)) THEN 'had been archived itself'
    END AS fault
    FROM archive a
    LEFT JOIN LATERAL (
        SELECT o.op, o.k FROM oplog o
        WHERE o.id = a.survivor AND pg_xact_commit_timestamp(o.xmin) < a.moment
        ORDER BY o.seq DESC LIMIT 1
    ) s ON true
)
SELECT format('row %s was archived when its survivor %s %s', id, survivor, fault) FROM judged WHERE fault IS NOT NULL
