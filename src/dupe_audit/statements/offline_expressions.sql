-- Purpose: define the function that stops the script if an expression of a key, its predicate or an order cannot be used; returns the types of the key's expressions.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_expressions(v_relid pg_catalog.oid, v_expressions pg_catalog.text[], v_predicate pg_catalog.text,
    v_order pg_catalog.text[], v_note pg_catalog.text) RETURNS pg_catalog.oid[] LANGUAGE plpgsql SET constraint_exclusion = 'on' AS $expressions$
DECLARE
    v_row record;
    v_source pg_catalog.text;
    v_plan pg_catalog.jsonb;
    v_every pg_catalog.jsonb;
    v_finding pg_catalog.text;
    v_reason pg_catalog.text;
    v_types pg_catalog.oid[];
BEGIN
    FOR v_row IN
        SELECT e.sql, 'key' AS part FROM pg_catalog.unnest(v_expressions) WITH ORDINALITY AS e(sql, ord) WHERE e.sql IS NOT NULL
        UNION ALL SELECT v_predicate, 'predicate' WHERE v_predicate IS NOT NULL
        UNION ALL SELECT o.sql, 'order' FROM pg_catalog.unnest(v_order) AS o(sql) WHERE o.sql IS NOT NULL
    LOOP
        v_finding := NULL;
        v_reason := '';
        BEGIN
            SELECT d.source, d.types INTO v_source, v_types FROM pg_temp.dupe_audit_describe(v_relid, ARRAY[v_row.sql]) AS d;
            IF v_row.part = 'order' THEN
                EXECUTE pg_catalog.format('EXPLAIN (FORMAT JSON, COSTS false) SELECT FROM %s WHERE (%s) IS NOT NULL ORDER BY CASE WHEN true THEN (%s) END',
                    v_source, v_row.sql, v_row.sql) INTO v_plan;
                -- The planner merges a subquery into the outer query unless its output is volatile.
                EXECUTE pg_catalog.format('EXPLAIN (FORMAT JSON, COSTS false) SELECT FROM (SELECT (%s) AS value FROM %s) AS dupe_audit_apart WHERE value IS NOT NULL',
                    v_row.sql, v_source) INTO v_plan;
                IF pg_catalog.jsonb_path_exists(v_plan, '$.**.Alias ? (@ == "dupe_audit_apart")') THEN
                    v_finding := 'volatile-order';
                END IF;
            ELSE
                IF v_row.part = 'predicate' THEN
                    EXECUTE pg_catalog.format('EXPLAIN (FORMAT JSON, COSTS false) SELECT FROM %s WHERE (%s)', v_source, v_row.sql) INTO v_plan;
                END IF;
                -- The planner recognises that nothing is NULL and not NULL at once only if it may evaluate the expression at any time.
                EXECUTE pg_catalog.format('EXPLAIN (FORMAT JSON, COSTS false) SELECT FROM %s WHERE (%s) IS NULL AND (%s) IS NOT NULL',
                    v_source, v_row.sql, v_row.sql) INTO v_plan;
                IF v_plan -> 0 -> 'Plan' ->> 'One-Time Filter' IS DISTINCT FROM 'false' THEN
                    v_finding := 'not-immutable';
                ELSIF v_row.part = 'predicate' THEN
                    EXECUTE pg_catalog.format('EXPLAIN (FORMAT JSON, COSTS false) SELECT FROM %s WHERE (%s)', v_source, v_row.sql) INTO v_plan;
                    EXECUTE pg_catalog.format('EXPLAIN (FORMAT JSON, COSTS false) SELECT FROM %s', v_source) INTO v_every;
                    IF v_plan -> 0 -> 'Plan' ->> 'One-Time Filter' IS NOT NULL AND v_every -> 0 -> 'Plan' ->> 'One-Time Filter' IS NULL THEN
                        v_finding := 'predicate-never-true';
                    END IF;
                END IF;
            END IF;
        EXCEPTION WHEN syntax_error_or_access_rule_violation OR invalid_schema_name OR data_exception OR feature_not_supported OR plpgsql_error THEN
            v_finding := 'expression-invalid';
            v_reason := pg_catalog.format(' (%s)', SQLERRM);
        END;
        -- A constant boolean or integer in a key allows a single row on purpose.
        IF v_finding IS NULL AND v_row.part <> 'predicate'
            AND NOT (v_row.part = 'key' AND v_types[1] OPERATOR(pg_catalog.=) ANY (ARRAY[16, 20, 21, 23]::pg_catalog.oid[])) THEN
            BEGIN
                EXECUTE pg_catalog.format('EXPLAIN (FORMAT JSON, COSTS false) SELECT (%s)', v_row.sql) INTO v_plan;
                v_finding := 'constant-expression';
            EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR feature_not_supported OR plpgsql_error THEN
                NULL;  -- It uses a column of the row.
            END;
        END IF;
        IF v_finding IS NOT NULL THEN
            RAISE EXCEPTION 'dupe-audit: %: % (table %)%. What to do: docs/reference/findings/%.md',
                v_finding, v_row.sql || v_reason, v_relid::pg_catalog.regclass, v_note, v_finding;
        END IF;
    END LOOP;
    RETURN (SELECT d.types FROM pg_temp.dupe_audit_describe(v_relid, pg_catalog.array_remove(v_expressions, NULL)) AS d);
END
$expressions$
