-- Purpose: release the sign that a directive works on a table.
-- Lock: releases one shared advisory lock.
-- Again: no; once per successful show_at_work.
SELECT pg_catalog.pg_advisory_unlock_shared({namespace}, {key})
