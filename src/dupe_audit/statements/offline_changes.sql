-- Purpose: define the function that returns the SQL that changes rows, and stops the script if the columns or their new values cannot be used.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_changes(v_relid pg_catalog.oid, v_holes pg_catalog.jsonb, v_key pg_catalog.text[], v_changed pg_catalog.text[],
    v_values pg_catalog.text[], v_merged pg_catalog.text[], v_by pg_catalog.text[], v_by_sql pg_catalog.bool[], v_note pg_catalog.text)
RETURNS pg_catalog.jsonb LANGUAGE plpgsql AS $changes$
DECLARE
    v_amends boolean := pg_catalog.cardinality(v_changed) > 0;
    v_problem pg_catalog.text;
    v_changes pg_catalog.jsonb;
    v_line pg_catalog.text;
BEGIN
    SELECT p.problem INTO v_problem FROM (
        SELECT u.problem FROM ({unchangeable}) AS u
        UNION ALL
        SELECT pg_catalog.format('%s is in the key, and the rows of a group agree in it', m.name)
        FROM pg_catalog.unnest(v_merged) AS m(name) WHERE m.name = ANY (v_key)) AS p
    LIMIT 1;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: column-not-changeable: % (table %)%. What to do: docs/reference/findings/column-not-changeable.md',
            v_problem, v_relid::pg_catalog.regclass, v_note;
    END IF;
    SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.to_jsonb(c)) INTO v_changes FROM ({change_fragments}) AS c;
    BEGIN
        FOR v_line IN EXECUTE pg_temp.dupe_audit_fill(CASE WHEN v_amends THEN {t_explain_amended} ELSE {t_explain_merged} END, v_holes || v_changes) LOOP
            IF NOT v_amends AND v_line ~ 'ProjectSet' THEN
                RAISE EXCEPTION 'set-returning functions are not allowed, because a column has one value';
            END IF;
        END LOOP;
    EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR feature_not_supported OR plpgsql_error THEN
        v_problem := CASE WHEN v_amends THEN {of_several_rows}::pg_catalog.jsonb ->> SQLSTATE END;
        v_problem := coalesce(v_problem, SQLERRM);
    END;
    IF v_problem IS NOT NULL THEN
        -- Each column alone: the first that fails is named.
        FOR v_one IN 1 .. pg_catalog.cardinality(v_changed || v_merged) LOOP
            EXIT WHEN pg_catalog.cardinality(v_changed || v_merged) = 1;
            PERFORM pg_temp.dupe_audit_changes(v_relid, v_holes, v_key, v_changed[v_one:v_one], v_values[v_one:v_one],
                v_merged[v_one:v_one], v_by[v_one:v_one], v_by_sql[v_one:v_one], v_note);
        END LOOP;
        RAISE EXCEPTION 'dupe-audit: expression-invalid: %, column %: % (table %)%. What to do: docs/reference/findings/expression-invalid.md',
            CASE WHEN v_amends THEN 'set_' ELSE 'merge' END, pg_catalog.array_to_string(v_changed || v_merged, ', '), v_problem,
            v_relid::pg_catalog.regclass, v_note;
    END IF;
    RETURN v_changes;
END
$changes$
