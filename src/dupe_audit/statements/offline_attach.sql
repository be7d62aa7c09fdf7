-- Purpose: run one statement that takes ACCESS EXCLUSIVE for an instant, with a short lock timeout, until it gets its lock.
-- Lock: ACCESS EXCLUSIVE on the table, never waited for longer than lock_timeout.
-- Again: yes; it asks the catalog first.
DO $attach$
DECLARE
    v_until timestamptz := pg_catalog.clock_timestamp() + interval {give_up_after};
    v_pause float8 := 0.1;
BEGIN
    LOOP
        EXIT WHEN {done};
        BEGIN
            PERFORM pg_catalog.set_config('lock_timeout', {lock_timeout}, true);
            {action};
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF pg_catalog.clock_timestamp() > v_until THEN
                RAISE EXCEPTION 'dupe-audit: no lock within %; holding the table: %', {give_up_after},
                    (SELECT pg_catalog.string_agg(DISTINCT l.pid::text, ', ') FROM pg_catalog.pg_locks l
                     WHERE l.relation = ({relid}) AND l.granted AND l.pid <> pg_catalog.pg_backend_pid());
            END IF;
        END;
        COMMIT;
        PERFORM pg_catalog.pg_sleep(v_pause * (0.5 + pg_catalog.random()));
        v_pause := least(v_pause * 1.6, 10);
    END LOOP;
END
$attach$
