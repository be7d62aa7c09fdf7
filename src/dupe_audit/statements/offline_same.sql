-- Purpose: define the function that compares the elements and the predicate of a key with those of an index, as the planner reads them.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_same(v_relid pg_catalog.oid, v_key pg_catalog.text[], v_predicate pg_catalog.text,
    v_index pg_catalog.text[], v_index_predicate pg_catalog.text, v_collations pg_catalog.text[]) RETURNS pg_catalog.bool LANGUAGE plpgsql AS $same$
DECLARE
    v_described record;
    v_pair record;
    v_plan pg_catalog.jsonb;
BEGIN
    SELECT d.source, d.collations INTO v_described FROM pg_temp.dupe_audit_describe(v_relid, v_key) AS d;
    IF v_described.collations IS DISTINCT FROM v_collations THEN
        RETURN false;
    END IF;
    FOR v_pair IN
        -- An index keeps the collation apart from its expression, so both sides get it.
        SELECT pair.own || coalesce(' COLLATE ' || pair.coll, '') AS own, pair.other || coalesce(' COLLATE ' || pair.coll, '') AS other
        FROM unnest(v_key, v_index, v_collations) AS pair(own, other, coll)
        UNION ALL SELECT v_predicate, v_index_predicate WHERE v_predicate IS NOT NULL
    LOOP
        EXECUTE pg_temp.dupe_audit_fill({t_same_value}, pg_catalog.jsonb_build_object(
            'first', v_pair.own, 'second', v_pair.other, 'source', v_described.source)) INTO v_plan;
        IF NOT ({says_same}) THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
EXCEPTION WHEN syntax_error_or_access_rule_violation OR invalid_schema_name OR data_exception OR feature_not_supported OR plpgsql_error THEN
    -- An expression that the server cannot read, such as one over a dropped column or a renamed value of an enum, is in no index.
    RETURN false;
END
$same$
