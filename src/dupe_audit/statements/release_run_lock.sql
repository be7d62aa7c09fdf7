-- Purpose: give the run lock back.
-- Lock: none.
-- Again: no; once per lock.
SELECT pg_catalog.pg_advisory_unlock({namespace}, {key})
