-- Purpose: list the processes of one node that work for a session of the coordinator.
-- Lock: none.
-- Again: yes, it only reads. It is a part of citus_build_progress.
SELECT s.pid FROM pg_catalog.pg_stat_activity s WHERE pg_catalog.texteq(s.application_name, {own})
