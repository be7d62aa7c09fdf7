-- Purpose: show dupe-audit watch that a directive works on a table.
-- Lock: a shared advisory lock, until it is released or the session ends; it excludes nobody, so nobody waits for it.
-- Again: yes; each success has to be released (hide_at_work).
SELECT pg_catalog.pg_try_advisory_lock_shared({namespace}, {key})
