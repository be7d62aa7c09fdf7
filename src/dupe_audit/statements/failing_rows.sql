-- Purpose: count, per expression, the rows for which it cannot be computed; executed only after a count has failed. The result is left in a setting.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads. A subtransaction per row takes some microseconds; it writes nothing.
DO $failing_rows$
#variable_conflict use_column
DECLARE
    dupe_audit_tid pg_catalog.tid;
    dupe_audit_queries pg_catalog.text[] := {queries};
    dupe_audit_counts pg_catalog.int8[] := pg_catalog.array_fill(0::pg_catalog.int8, ARRAY[{query_count}]);
    dupe_audit_codes pg_catalog.text[] := pg_catalog.array_fill(NULL::pg_catalog.text, ARRAY[{query_count}]);
    dupe_audit_rows pg_catalog.jsonb := '[]';
    dupe_audit_identity pg_catalog.text[];
BEGIN
    FOR dupe_audit_tid IN SELECT t.ctid FROM ONLY {table} t LOOP
        BEGIN
            -- Everything that the count and the ranking compute of a row, the order too.
            PERFORM ROW({partition_by})
            FROM ONLY {table} t{t_key_values}{t_order_values}
            WHERE t.ctid = dupe_audit_tid AND {t_countable}
            ORDER BY {order_by};
        EXCEPTION WHEN OTHERS OR assert_failure THEN
            FOR dupe_audit_number IN 1 .. {query_count} LOOP
                BEGIN
                    EXECUTE dupe_audit_queries[dupe_audit_number] USING dupe_audit_tid;
                EXCEPTION WHEN OTHERS OR assert_failure THEN
                    dupe_audit_counts[dupe_audit_number] := dupe_audit_counts[dupe_audit_number] + 1;
                    dupe_audit_codes[dupe_audit_number] := coalesce(dupe_audit_codes[dupe_audit_number], SQLSTATE);
                    IF pg_catalog.jsonb_array_length(dupe_audit_rows) < {shown_rows} THEN
                        SELECT {identity} INTO dupe_audit_identity FROM ONLY {table} t WHERE t.ctid = dupe_audit_tid;
                        dupe_audit_rows := dupe_audit_rows || pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
                            'number', dupe_audit_number, 'identity', dupe_audit_identity, 'message', SQLERRM));
                    END IF;
                    EXIT;
                END;
            END LOOP;
        END;
    END LOOP;
    PERFORM pg_catalog.set_config('dupe_audit.failing_rows', pg_catalog.jsonb_build_object(
        'counts', dupe_audit_counts, 'codes', dupe_audit_codes, 'rows', dupe_audit_rows)::pg_catalog.text, true);
END
$failing_rows$
