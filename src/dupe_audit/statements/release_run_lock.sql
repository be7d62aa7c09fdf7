-- Purpose: release the run lock.
-- Lock: releases one advisory lock.
-- Again: no; once per successful try_run_lock.
SELECT pg_catalog.pg_advisory_unlock({namespace}, {key})
