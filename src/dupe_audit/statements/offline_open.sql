-- Purpose: create the ledger, take the run lock, and open or continue a run; returns the run's id.
-- Lock: none on application objects; a session advisory lock that ends with this session.
-- Again: yes.
CREATE OR REPLACE PROCEDURE pg_temp.dupe_audit_open(INOUT v_run bigint) LANGUAGE plpgsql AS $open$
DECLARE
    v_relid pg_catalog.oid := ({relid_query});
    v_owner pg_catalog.text;
    v_until pg_catalog.timestamptz := pg_catalog.clock_timestamp() + interval {give_up_after};
    v_lock integer;
    v_citus pg_catalog.text;
BEGIN
    IF v_relid IS NULL THEN
        RAISE EXCEPTION 'dupe-audit: table-missing: table % does not exist; check its schema and the database', {table_name};
    END IF;
    IF (SELECT (c.relkind = 'p') <> {for_tree} FROM pg_catalog.pg_class c WHERE c.oid = v_relid) THEN
        RAISE EXCEPTION 'dupe-audit: partitioned-table: % {is_another_kind}. What to do: docs/reference/findings/partitioned-table.md', v_relid::pg_catalog.regclass, {table_name};
    END IF;
    IF pg_catalog.to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL THEN
        EXECUTE {citus_kind} INTO v_citus USING v_relid;
        IF v_citus IS NOT NULL THEN
            RAISE EXCEPTION 'dupe-audit: citus-table: Citus manages table %, as a % table, where a script does not work; execute the upgrade online: docs/howto/citus.md', {table_name}, v_citus;
        END IF;
    END IF;
    v_lock := (v_relid::pg_catalog.int8 - CASE WHEN v_relid::pg_catalog.int8 > 2147483647 THEN 4294967296 ELSE 0 END)::pg_catalog.int4;
    -- Polled, with a commit after each try: a wait inside pg_advisory_lock holds a snapshot, and a build would wait for it.
    WHILE NOT pg_catalog.pg_try_advisory_lock({lock_namespace}, v_lock) LOOP
        IF pg_catalog.clock_timestamp() > v_until THEN
            RAISE EXCEPTION 'dupe-audit: another session (pid %) is working on table %; when that session has finished, execute this script again; if its client is gone, end the session with pg_terminate_backend() first',
                coalesce(({run_holder})::pg_catalog.text, 'unknown'), {table_name};
        END IF;
        COMMIT;
        PERFORM pg_catalog.pg_sleep(0.2);
    END LOOP;
    v_owner := (SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) FROM pg_catalog.pg_class c WHERE c.oid = v_relid);
    -- The first runs on two tables can begin at once, and IF NOT EXISTS does not serialise them (H197). Polled as well.
    v_until := pg_catalog.clock_timestamp() + interval {ledger_patience};
    WHILE NOT ({try_ledger_lock}) LOOP
        IF pg_catalog.clock_timestamp() > v_until THEN
            RAISE EXCEPTION 'dupe-audit: another session (pid %) has been creating the ledger for %; when that session has finished, execute this script again; if its client is gone, end the session with pg_terminate_backend() first',
                coalesce(({ledger_holder})::pg_catalog.text, 'unknown'), interval {ledger_patience};
        END IF;
        COMMIT;
        PERFORM pg_catalog.pg_sleep(0.2);
    END LOOP;
    PERFORM pg_temp.dupe_audit_trust(v_relid);
    IF pg_catalog.to_regclass('dupe_audit.child') IS NULL THEN
        IF pg_catalog.to_regnamespace('dupe_audit') IS NULL THEN
            EXECUTE 'CREATE SCHEMA dupe_audit AUTHORIZATION ' || v_owner;
            {revoke_schema};
        END IF;
        v_owner := ({ledger_owner});
        {create_run_table};
        {create_batch_table};
        {create_child_table};
        {create_leaf_table};
        EXECUTE 'ALTER TABLE dupe_audit.run OWNER TO ' || v_owner;
        EXECUTE 'ALTER TABLE dupe_audit.batch OWNER TO ' || v_owner;
        EXECUTE 'ALTER TABLE dupe_audit.child OWNER TO ' || v_owner;
        EXECUTE 'ALTER TABLE dupe_audit.leaf OWNER TO ' || v_owner;
        {revoke_run};
        {revoke_batch};
        {revoke_child};
        {revoke_leaf};
    END IF;
    {find_same};
    SELECT r.id INTO v_run
    FROM dupe_audit.run r
    WHERE ({run_relation}) = v_relid AND {chosen}
    ORDER BY {order} LIMIT 1;
    IF v_run IS NULL THEN
        INSERT INTO dupe_audit.run (relid, relation, ledger_oid, schema_name, table_name, key_columns, key_expressions, predicate, key_numbers, column_names, column_numbers, nulls_not_distinct, constraint_name,
            keep, order_by, order_expressions, directions, exact, divergent, changed_columns, changed_values, merged_columns, merged_by, merged_by_sql, on_reference, ignored, batch_size, pause, max_replica_lag, state, revision, software_version)
        SELECT v_relid, v_relid::pg_catalog.regclass, 'dupe_audit.run'::pg_catalog.regclass::pg_catalog.oid,
            n.nspname, c.relname, {key}, {key_expressions}, {predicate}, ({key_numbers}), (SELECT p.names FROM ({column_places}) AS p), (SELECT p.numbers FROM ({column_places}) AS p), {nulls_not_distinct}, {constraint_name},
            {keep}, {order_by}, {order_expressions}, {directions}, {exact}, {divergent}, {changed_columns}, {changed_values}, {merged_columns}, {merged_by}, {merged_by_sql}, {on_reference}, {ignore}, {batch_size}, {pause}, {max_replica_lag},
            CASE WHEN {keep}::pg_catalog.text IS NULL THEN 'clean' ELSE 'cleaning' END, {revision}, {version}
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = v_relid
        RETURNING id INTO v_run;
        IF EXISTS (SELECT FROM ({run_objects}) AS o WHERE o.run = v_run::pg_catalog.text) THEN
            RAISE EXCEPTION 'dupe-audit: untrusted-ledger: run % has just been opened, but its archive or another of its tables exists in schema dupe_audit. What to do: docs/reference/findings/untrusted-ledger.md', v_run;
        END IF;
    ELSIF {keep}::pg_catalog.text IS NOT NULL THEN
        {resume_run};
    END IF;
    COMMIT;
END
$open$
