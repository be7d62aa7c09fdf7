-- Purpose: define the function that stops the script after an error in an expression, with the number of rows for which it fails; after another error, it returns.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_failing(v_holes pg_catalog.jsonb, v_expressions pg_catalog.text[], v_predicate pg_catalog.text,
    v_code pg_catalog.text, v_note pg_catalog.text) RETURNS pg_catalog.void LANGUAGE plpgsql AS $failing$
DECLARE
    v_parts pg_catalog.text[] := pg_catalog.array_remove(v_predicate || v_expressions, NULL);
    v_source pg_catalog.text := pg_catalog.format('FROM ONLY %s AS %s WHERE ctid OPERATOR(pg_catalog.=) $1', v_holes ->> 'table', v_holes ->> 'relation');
    v_queries pg_catalog.text[];
    v_result pg_catalog.jsonb;
    v_reasons pg_catalog.text;
BEGIN
    IF pg_catalog.cardinality(v_parts) = 0 OR NOT (v_code = ANY ({about_expressions}) OR pg_catalog.left(v_code, 2) = ANY ({about_expressions})) THEN
        RETURN;
    END IF;
    v_queries := ARRAY(
        SELECT CASE WHEN v_predicate IS NULL OR p.ord = 1
                    THEN pg_catalog.format('SELECT (%s) %s', p.sql, v_source)
                    ELSE pg_catalog.format('SELECT CASE WHEN (%s) THEN (%s) END %s', v_predicate, p.sql, v_source) END
        FROM pg_catalog.unnest(v_parts) WITH ORDINALITY AS p(sql, ord) ORDER BY p.ord);
    EXECUTE pg_temp.dupe_audit_fill({t_failing_rows}, v_holes || pg_catalog.jsonb_build_object(
        'queries', pg_catalog.format('%L::pg_catalog.text[]', v_queries), 'query_count', pg_catalog.cardinality(v_queries),
        'shown_rows', 0, 'identity', 'NULL::pg_catalog.text[]'));
    v_result := pg_catalog.current_setting('dupe_audit.failing_rows')::pg_catalog.jsonb;
    SELECT pg_catalog.string_agg(pg_catalog.format('%s fails for %s %s (SQLSTATE %s)', v_parts[n], c.rows,
                                                   CASE c.rows WHEN 1 THEN 'row' ELSE 'rows' END, v_result #>> ARRAY['codes', (n - 1)::pg_catalog.text]), '; ' ORDER BY n)
    INTO v_reasons
    FROM pg_catalog.generate_series(1, pg_catalog.cardinality(v_parts)) AS n
    CROSS JOIN LATERAL (SELECT (v_result #>> ARRAY['counts', (n - 1)::pg_catalog.text])::pg_catalog.int8 AS rows) AS c
    WHERE c.rows > 0;
    IF v_reasons IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: expression-fails: the key cannot be computed for some rows of table % (%)%. Correct those rows, then execute this script again. What to do: docs/reference/findings/expression-fails.md',
            v_holes ->> 'table', v_reasons, v_note;
    END IF;
    IF pg_catalog.left(v_code, 2) = ANY ({quoting}) THEN
        RAISE EXCEPTION 'dupe-audit: an error with SQLSTATE % stopped the work on table %, but no expression fails for any row now%. It came from a row that has changed since, or from a trigger. The server''s log has its text. Execute this script again.',
            v_code, v_holes ->> 'table', v_note;
    END IF;
END
$failing$
