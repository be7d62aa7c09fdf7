-- Purpose: report how far the build of a session of the coordinator is on one node, first a build that waits.
-- Lock: none.
-- Again: yes, it only reads. It is a part of citus_build_progress.
SELECT pg_catalog.row_to_json(q) FROM ({progress_query}) AS q
ORDER BY pg_catalog.starts_with(q.phase, 'waiting') DESC, q.phase, q.locker LIMIT 1
