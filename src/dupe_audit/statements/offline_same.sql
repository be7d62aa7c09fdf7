-- Purpose: define what compares the elements and the predicate of a key with those of an index, as the planner reads them.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_same(v_relid pg_catalog.oid, v_key pg_catalog.text[], v_predicate pg_catalog.text,
    v_index pg_catalog.text[], v_index_predicate pg_catalog.text, v_collations pg_catalog.text[]) RETURNS pg_catalog.bool LANGUAGE plpgsql AS $same$
DECLARE
    v_described record;
    v_plan pg_catalog.jsonb;
    v_output pg_catalog.text[];
    v_size integer := pg_catalog.cardinality(v_key) + CASE WHEN v_predicate IS NULL THEN 0 ELSE 1 END;
BEGIN
    SELECT d.source, d.collations INTO v_described FROM pg_temp.dupe_audit_describe(v_relid, v_key) AS d;
    IF v_described.collations IS DISTINCT FROM v_collations THEN
        RETURN false;
    END IF;
    EXECUTE (SELECT pg_catalog.format('EXPLAIN (FORMAT JSON, COSTS false, VERBOSE) SELECT %s FROM %s',
                 pg_catalog.string_agg(pg_catalog.format('(%s), (%s)', pair.own, pair.other), ', ' ORDER BY pair.ord), v_described.source)
             FROM unnest(pg_catalog.array_append(v_key, v_predicate), pg_catalog.array_append(v_index, v_index_predicate))
                 WITH ORDINALITY AS pair(own, other, ord)
             WHERE pair.ord <= v_size) INTO v_plan;
    v_output := ARRAY(SELECT o.value FROM pg_catalog.jsonb_array_elements_text(v_plan -> 0 -> 'Plan' -> 'Output') WITH ORDINALITY AS o(value, ord) ORDER BY o.ord);
    RETURN pg_catalog.cardinality(v_output) = 2 * v_size
        AND NOT EXISTS (SELECT FROM pg_catalog.generate_series(1, 2 * v_size, 2) AS n WHERE v_output[n] <> v_output[n + 1]);
EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
    -- An expression that the server cannot read, such as one over a dropped column, is in no index.
    RETURN false;
END
$same$
