-- Purpose: find the runs of a table whose key means the same as a key with expressions or a predicate, although a rename made the texts differ.
-- Lock: ACCESS SHARE on the table and the ledger, until the transaction ends.
-- Again: yes, it only reads. The ids are left in a setting: a standby and a read-only transaction can create no function.
DO $same$
DECLARE
    v_relid pg_catalog.oid := {relid}::pg_catalog.oid;
    v_key pg_catalog.text[] := {elements};
    v_predicate pg_catalog.text := {predicate};
    v_run record;
    v_element pg_catalog.text;
    v_other integer;
    v_others integer[];
    v_plan pg_catalog.jsonb;
    v_same boolean;
    v_runs pg_catalog.text[] := '{}';
BEGIN
    FOR v_run IN
        SELECT r.id, form.elements, form.predicate,
               -- The columns of the table under the names that they had when the text was written.
               pg_catalog.format('ONLY %1$I.%2$I AS %2$I CROSS JOIN LATERAL (SELECT %3$s FROM (SELECT %4$s) AS %5$I) AS dupe_audit_run',
                   n.nspname, c.relname,
                   (SELECT pg_catalog.string_agg(pg_catalog.format('(%s) AS dupe_audit_%s', e.sql, e.ord), ', ' ORDER BY e.ord)
                    FROM pg_catalog.unnest(pg_catalog.array_append(form.elements, form.predicate)) WITH ORDINALITY AS e(sql, ord) WHERE e.sql IS NOT NULL),
                   (SELECT pg_catalog.string_agg(pg_catalog.format('%I.%I AS %I', c.relname, a.attname, coalesce(former.name, a.attname)), ', ')
                    FROM pg_catalog.pg_attribute a
                    LEFT JOIN unnest(r.column_names, r.column_numbers) AS former(name, attnum)
                      ON former.attnum = a.attnum AND form.is_former AND r.relation::pg_catalog.oid = r.relid
                    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                      -- A column that was added since then can have the former name of another column.
                      AND (former.name IS NOT NULL OR NOT form.is_former OR r.relation::pg_catalog.oid <> r.relid
                           OR a.attname::pg_catalog.text = ANY (r.column_names) IS NOT TRUE)),
                   CASE WHEN form.is_former THEN r.table_name ELSE c.relname END) AS source
        FROM dupe_audit.run r
        JOIN pg_catalog.pg_class c ON c.oid = ({run_relation})
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL (
            SELECT ARRAY(SELECT CASE WHEN k.part = ANY (r.key_expressions) THEN k.part ELSE pg_catalog.quote_ident(k.part) END
                         FROM pg_catalog.unnest(r.key_columns) WITH ORDINALITY AS k(part, ord) ORDER BY k.ord) AS elements,
                   r.predicate, true AS is_former
            WHERE r.index_elements IS NULL
            UNION ALL SELECT r.index_elements, r.index_predicate, true WHERE r.index_elements IS NOT NULL
            -- As long as the index of the run exists, it follows every rename; after its drop, another index can have the name.
            UNION ALL SELECT ix.elements, ix.predicate, false FROM ({index_elements}) AS ix WHERE {trusts_index} AND (r.state = 'enforced' OR r.built)
        ) AS form
        WHERE c.oid = v_relid AND pg_catalog.cardinality(form.elements) = pg_catalog.cardinality(v_key)
          AND (form.predicate IS NULL) = (v_predicate IS NULL)
    LOOP
        BEGIN
            v_same := true;
            v_others := ARRAY(SELECT pg_catalog.generate_series(1, pg_catalog.cardinality(v_key)));
            IF v_predicate IS NOT NULL THEN
                EXECUTE pg_catalog.format({same_value}, v_predicate, pg_catalog.format('dupe_audit_run.dupe_audit_%s', pg_catalog.cardinality(v_key) + 1), v_run.source) INTO v_plan;
                v_same := ({says_same});
            END IF;
            FOREACH v_element IN ARRAY v_key LOOP
                EXIT WHEN NOT v_same;
                FOREACH v_other IN ARRAY v_others LOOP
                    EXECUTE pg_catalog.format({same_value}, v_element, pg_catalog.format('dupe_audit_run.dupe_audit_%s', v_other), v_run.source) INTO v_plan;
                    v_same := ({says_same});
                    IF v_same THEN
                        v_others := pg_catalog.array_remove(v_others, v_other);
                        EXIT;
                    END IF;
                END LOOP;
            END LOOP;
            IF v_same THEN
                v_runs := v_runs OPERATOR(pg_catalog.||) v_run.id::pg_catalog.text;
            END IF;
        EXCEPTION WHEN syntax_error_or_access_rule_violation OR invalid_schema_name OR data_exception OR feature_not_supported OR plpgsql_error THEN
            -- A text that names a dropped column or a renamed function cannot be read, so this run does not match. The planner
            -- also computes constants, such as a value of an enum that was renamed.
            NULL;
        END;
    END LOOP;
    PERFORM pg_catalog.set_config({setting}, pg_catalog.array_to_string(v_runs, ','), false);
END
$same$
