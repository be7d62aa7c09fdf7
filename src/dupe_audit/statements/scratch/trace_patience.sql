-- Purpose: show whether a session's timeouts leave time for a tripwire, and have it publish its counts.
-- Lock: none.
-- Again: yes, it only reads.
SELECT extract(epoch FROM pg_catalog.current_setting('lock_timeout')::interval) NOT BETWEEN 0.0001 AND {seconds}
       AND extract(epoch FROM pg_catalog.current_setting('statement_timeout')::interval) NOT BETWEEN 0.0001 AND {seconds},
       {flush}
