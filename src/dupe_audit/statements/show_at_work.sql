-- Purpose: let dupe-audit watch see that a directive works on a table; shared, so it excludes nobody and nobody waits for it.
-- Lock: a shared advisory lock until it is given back or the session ends.
-- Again: yes; each one has to be given back.
SELECT pg_catalog.pg_try_advisory_lock_shared({namespace}, {key})
