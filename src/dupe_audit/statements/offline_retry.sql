-- Purpose: execute one statement that takes a strong lock for an instant; retry with a short lock timeout until it acquires the lock.
-- Lock: that of the statement, at most ACCESS EXCLUSIVE on the table; one wait lasts at most lock_timeout.
-- Again: yes; it reads the catalog first.
DO $attach$
DECLARE
    v_until pg_catalog.timestamptz := pg_catalog.clock_timestamp() + interval {give_up_after};
    v_pause float8 := 0.1;
BEGIN
    LOOP
        EXIT WHEN {done};
        BEGIN
            PERFORM pg_catalog.set_config('lock_timeout', {lock_timeout}, true),
                    -- The commit must not wait for a standby while it holds this lock.
                    pg_catalog.set_config('synchronous_commit', 'local', true);
            {action};
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF pg_catalog.clock_timestamp() > v_until THEN
                RAISE EXCEPTION 'dupe-audit: the lock on table % was not acquired within %. Locks on the table are held by %. Wait for them or end them, then execute this script again.',
                    ({relid})::pg_catalog.regclass, interval {give_up_after},
                    coalesce((SELECT pg_catalog.string_agg(DISTINCT coalesce('pid ' || l.pid::pg_catalog.text, 'a prepared transaction, see pg_prepared_xacts'), ', ') FROM pg_catalog.pg_locks l
                     WHERE l.relation = ({relid}) AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()), 'nobody');
            END IF;
        END;
        COMMIT;
        PERFORM pg_catalog.pg_sleep(v_pause * (0.5 + pg_catalog.random()));
        v_pause := least(v_pause * 1.6, 10);
    END LOOP;
END
$attach$
