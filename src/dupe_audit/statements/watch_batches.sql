-- Purpose: say what a run's last batch did, and how fast its batches of the same direction were in the last minute.
-- Lock: ACCESS SHARE on the ledger's table of batches, for the statement.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) AS batches,
       (pg_catalog.array_agg(b.archived + b.amended ORDER BY b.number DESC))[1] AS handled,
       (pg_catalog.array_agg(b.restored + b.reverted ORDER BY b.number DESC))[1] AS restored,
       (pg_catalog.array_agg(b.spared ORDER BY b.number DESC))[1] AS spared,
       -- The first batch of the minute only marks when counting begins.
       (pg_catalog.sum(b.archived + b.amended + b.restored + b.reverted) FILTER (WHERE b.recent)
           - (pg_catalog.array_agg(b.archived + b.amended + b.restored + b.reverted ORDER BY b.number) FILTER (WHERE b.recent))[1])::pg_catalog.float8
       / nullif(extract(epoch FROM pg_catalog.clock_timestamp()
                                    - pg_catalog.min(b.committed_at) FILTER (WHERE b.recent)), 0)::pg_catalog.float8 AS rate
FROM (SELECT x.*, x.committed_at > pg_catalog.clock_timestamp() - interval '1 minute'
                      AND (x.restored + x.reverted > 0) = pg_catalog.first_value(x.restored + x.reverted > 0) OVER (ORDER BY x.number DESC) AS recent
      FROM dupe_audit.batch x WHERE x.run_id = {run} ORDER BY x.number DESC LIMIT 1000) AS b
