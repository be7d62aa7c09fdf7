-- Purpose: find the expressions that fail under the search path of an index build, but not under the session's. The result is left in a setting.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads; one scan of the table per expression, and none if no function can depend on the path.
DO $path_problems$
#variable_conflict use_column
DECLARE
    dupe_audit_path pg_catalog.text := pg_catalog.current_setting('search_path');
    dupe_audit_queries pg_catalog.text[] := {queries};
    dupe_audit_cursor pg_catalog.refcursor;
    dupe_audit_values pg_catalog.int8;
    dupe_audit_code pg_catalog.text;
    dupe_audit_message pg_catalog.text;
    dupe_audit_problems pg_catalog.jsonb := '[]';
    dupe_audit_call record;
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_language l ON l.oid = p.prolang
        JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE l.lanname NOT IN ('internal', 'c') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          -- A function that sets its own path is executed under it wherever it is called.
          AND NOT EXISTS (SELECT FROM pg_catalog.unnest(p.proconfig) AS setting WHERE setting OPERATOR(pg_catalog.~) '^search_path=')
          AND (pg_catalog.strpos(pg_catalog.lower({texts}), pg_catalog.lower(p.proname::pg_catalog.text)) > 0
               -- Operators, casts and domains call functions that no expression names.
               OR p.oid IN (SELECT o.oprcode::pg_catalog.oid FROM pg_catalog.pg_operator o)
               OR p.oid IN (SELECT c.castfunc FROM pg_catalog.pg_cast c)
               OR p.oid IN (SELECT d.refobjid FROM pg_catalog.pg_depend d
                            JOIN pg_catalog.pg_constraint c ON c.oid = d.objid AND c.contypid <> 0::pg_catalog.oid
                            WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
                              AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass))
    ) THEN
        FOR dupe_audit_number IN 1 .. pg_catalog.cardinality(dupe_audit_queries) LOOP
            BEGIN
                -- Names in the expression itself are resolved under the session's path; only what its functions call is looked up later.
                OPEN dupe_audit_cursor NO SCROLL FOR EXECUTE dupe_audit_queries[dupe_audit_number];
                PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
                FETCH dupe_audit_cursor INTO dupe_audit_values;
                CLOSE dupe_audit_cursor;
                PERFORM pg_catalog.set_config('search_path', dupe_audit_path, true);
            EXCEPTION WHEN OTHERS OR assert_failure THEN
                dupe_audit_code := SQLSTATE;
                dupe_audit_message := SQLERRM;
                BEGIN
                    EXECUTE dupe_audit_queries[dupe_audit_number] INTO dupe_audit_values;
                    dupe_audit_problems := dupe_audit_problems || pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
                        'number', dupe_audit_number, 'code', dupe_audit_code, 'message', dupe_audit_message));
                EXCEPTION WHEN OTHERS OR assert_failure THEN
                    -- Rows for which it fails under any path are counted elsewhere (failing_rows).
                    NULL;
                END;
            END;
        END LOOP;
        -- A function in SQL is merged into the expression by the planner, before the path changes above, and is not called.
        -- So it is also planned here under its name, unless another function has the same name.
        FOR dupe_audit_call IN
            SELECT u.number, pg_catalog.format('EXPLAIN SELECT %I.%I(%s) FROM (SELECT %s OFFSET 0) AS dupe_audit_arguments', n.nspname, p.proname,
                       (SELECT pg_catalog.string_agg(pg_catalog.format('a%s', a.ord), ', ' ORDER BY a.ord) FROM pg_catalog.unnest(p.proargtypes::pg_catalog.oid[]) WITH ORDINALITY AS a(type, ord)),
                       (SELECT pg_catalog.string_agg(pg_catalog.format('NULL::%I.%I AS a%s', tn.nspname, t.typname, a.ord), ', ' ORDER BY a.ord)
                        FROM pg_catalog.unnest(p.proargtypes::pg_catalog.oid[]) WITH ORDINALITY AS a(type, ord)
                        JOIN pg_catalog.pg_type t ON t.oid = a.type JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace)) AS sql
            FROM pg_catalog.pg_proc p
            JOIN pg_catalog.pg_language l ON l.oid = p.prolang
            JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
            CROSS JOIN LATERAL (
                SELECT pg_catalog.min(q.ord) AS number FROM pg_catalog.unnest(dupe_audit_queries) WITH ORDINALITY AS q(sql, ord)
                WHERE p.proname ~ '^[a-z_][a-z0-9_]*$' AND q.sql ~* pg_catalog.format('\m%s\M"?\s*[(]', p.proname)) AS u
            WHERE l.lanname = 'sql' AND p.prokind = 'f' AND p.provolatile = 'i' AND p.pronargs > 0
              AND p.prosqlbody IS NULL AND p.proconfig IS NULL AND NOT p.prosecdef AND NOT p.proretset
              AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND u.number IS NOT NULL
              AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc other WHERE other.proname = p.proname AND other.oid <> p.oid)
              AND NOT EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = ANY (p.proargtypes::pg_catalog.oid[]) AND t.typtype = 'p')
        LOOP
            BEGIN
                PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
                EXECUTE dupe_audit_call.sql;
                PERFORM pg_catalog.set_config('search_path', dupe_audit_path, true);
            EXCEPTION WHEN OTHERS OR assert_failure THEN
                dupe_audit_code := SQLSTATE;
                dupe_audit_message := SQLERRM;
                BEGIN
                    EXECUTE dupe_audit_call.sql;
                    dupe_audit_problems := dupe_audit_problems || pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
                        'number', dupe_audit_call.number, 'code', dupe_audit_code, 'message', dupe_audit_message));
                EXCEPTION WHEN OTHERS OR assert_failure THEN
                    NULL;
                END;
            END;
        END LOOP;
    END IF;
    PERFORM pg_catalog.set_config('dupe_audit.path_problems', dupe_audit_problems::pg_catalog.text, true);
END
$path_problems$
