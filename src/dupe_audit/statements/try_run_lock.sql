-- Purpose: try to become the only session that works on a table.
-- Lock: an advisory lock, until it is released or the session ends; it does not wait for it.
-- Again: yes; each success has to be released (release_run_lock).
-- A wait inside pg_advisory_lock() would hold a snapshot, and deadlock with the build of the session that has the lock.
SELECT pg_catalog.pg_try_advisory_lock({namespace}, {key})
