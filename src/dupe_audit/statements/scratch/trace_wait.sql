-- Purpose: show what a session waits for, which locks on the given tables it holds, and who else waits for our tripwires.
-- Lock: none.
-- Again: yes, it only reads.
SELECT l.pid, l.locktype, l.relation, l.mode, l.granted,
       extract(epoch FROM pg_catalog.clock_timestamp() - l.waitstart)::pg_catalog.float8 AS waited,
       NOT l.granted AND pg_catalog.pg_blocking_pids(l.pid) && {wires} AS at_wire
FROM pg_catalog.pg_locks l
WHERE NOT l.granted OR (l.pid = {pid} AND l.locktype = 'relation' AND l.relation = ANY ({tables}))
