-- Purpose: show whether a session is in a transaction, and which locks on the given tables it holds.
-- Lock: none.
-- Again: yes, it only reads.
SELECT a.state, l.relation, l.mode
FROM pg_catalog.pg_stat_get_activity({pid}) a
LEFT JOIN pg_catalog.pg_locks l
  ON l.pid = a.pid AND l.locktype = 'relation' AND l.granted AND l.relation = ANY ({tables})
