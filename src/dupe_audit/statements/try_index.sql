-- Purpose: build the index on an empty temporary copy of the table, and on one with a few rows, and roll both back. The result is left in a setting.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, nothing of it remains.
DO $try_index$
#variable_conflict use_column
DECLARE
    dupe_audit_builds pg_catalog.text[] := {builds};
    dupe_audit_predicate pg_catalog.text := coalesce({predicate}::pg_catalog.text, 'true');
    dupe_audit_name pg_catalog.text;
    dupe_audit_table pg_catalog.text;
    dupe_audit_owner pg_catalog.text;
    dupe_audit_columns pg_catalog.text;
    dupe_audit_on pg_catalog.text := 'copy';
    dupe_audit_failure pg_catalog.jsonb;
BEGIN
    SELECT pg_catalog.quote_ident(c.relname), pg_catalog.format('%I.%I', n.nspname, c.relname),
           pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner))
    INTO dupe_audit_name, dupe_audit_table, dupe_audit_owner
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = {relid}::pg_catalog.oid;
    SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO dupe_audit_columns
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
    BEGIN
        EXECUTE pg_catalog.format('CREATE TEMPORARY TABLE %s (LIKE %s INCLUDING GENERATED) ON COMMIT DROP', dupe_audit_name, dupe_audit_table);
        FOREACH dupe_audit_on IN ARRAY ARRAY['empty', 'rows'] LOOP
            IF dupe_audit_on = 'rows' THEN
                BEGIN
                    EXECUTE pg_catalog.format('INSERT INTO pg_temp.%s (%s) SELECT %s FROM ONLY %s AS %s WHERE (%s) LIMIT 3',
                        dupe_audit_name, dupe_audit_columns, dupe_audit_columns, dupe_audit_table, dupe_audit_name, dupe_audit_predicate);
                    -- The server builds an index with the rights of the table's owner.
                    EXECUTE pg_catalog.format('ALTER TABLE pg_temp.%s OWNER TO %s', dupe_audit_name, dupe_audit_owner);
                EXCEPTION WHEN OTHERS OR assert_failure THEN
                    EXIT;
                END;
            END IF;
            -- The first build is of the whole index; the others are of its parts, and show which part the server refuses.
            FOR dupe_audit_number IN 1 .. pg_catalog.cardinality(dupe_audit_builds) LOOP
                BEGIN
                    EXECUTE dupe_audit_builds[dupe_audit_number];
                    RAISE SQLSTATE 'DA001';
                EXCEPTION
                    WHEN SQLSTATE 'DA001' OR unique_violation THEN
                        EXIT WHEN dupe_audit_number = 1;
                    WHEN OTHERS OR assert_failure THEN
                        dupe_audit_failure := pg_catalog.jsonb_build_object('on', dupe_audit_on, 'number', dupe_audit_number,
                            'code', SQLSTATE, 'message', SQLERRM);
                        EXIT WHEN dupe_audit_number > 1;
                END;
            END LOOP;
            EXIT WHEN dupe_audit_failure IS NOT NULL;
        END LOOP;
        RAISE SQLSTATE 'DA001';
    EXCEPTION
        WHEN SQLSTATE 'DA001' THEN
            NULL;
        WHEN OTHERS OR assert_failure THEN
            dupe_audit_failure := pg_catalog.jsonb_build_object('on', 'copy', 'number', 1, 'code', SQLSTATE, 'message', SQLERRM);
    END;
    PERFORM pg_catalog.set_config('dupe_audit.tried', coalesce(dupe_audit_failure, 'null')::pg_catalog.text, true);
END
$try_index$
