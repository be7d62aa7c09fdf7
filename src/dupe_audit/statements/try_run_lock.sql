-- Purpose: try to become the one session that works on a table. Never waits: a wait inside pg_advisory_lock() holds a snapshot and deadlocks with the holder's build.
-- Lock: an advisory lock until it is given back or the session ends.
-- Again: yes; each success has to be given back.
SELECT pg_catalog.pg_try_advisory_lock({namespace}, {key})
