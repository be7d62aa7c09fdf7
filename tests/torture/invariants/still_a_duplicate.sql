-- When a row was archived, it and its survivor held equal keys; of both, the log is asked, not the archive.
SELECT format('row %s had key %s when it was archived, and its survivor %s had %s', a.id, e.k, a.survivor, s.k)
FROM archived() a
LEFT JOIN LATERAL (
    SELECT o.k FROM oplog o
    WHERE o.id = a.id AND pg_xact_commit_timestamp(o.xmin) < a.moment
    ORDER BY o.seq DESC LIMIT 1
) e ON true
LEFT JOIN LATERAL (
    SELECT o.k FROM oplog o
    WHERE o.id = a.survivor AND pg_xact_commit_timestamp(o.xmin) < a.moment
    ORDER BY o.seq DESC LIMIT 1
) s ON true
WHERE e.k IS NULL OR s.k IS NULL OR e.k <> s.k
