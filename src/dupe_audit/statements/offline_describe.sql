-- Purpose: define the function that reads type and collation of each element of a key, without computing it for any row.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_describe(v_relid pg_catalog.oid, v_elements pg_catalog.text[],
    OUT source pg_catalog.text, OUT types pg_catalog.oid[], OUT collations pg_catalog.text[]) LANGUAGE plpgsql AS $describe$
DECLARE
    v_rows pg_catalog.text;
BEGIN
    SELECT pg_catalog.format('ONLY %I.%I AS %I', n.nspname, c.relname, c.relname) INTO source
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = v_relid;
    types := ARRAY[]::pg_catalog.oid[];
    collations := ARRAY[]::pg_catalog.text[];
    IF pg_catalog.cardinality(v_elements) = 0 THEN
        RETURN;
    END IF;
    -- The source has no row, because an expression could fail on a made-up one.
    SELECT pg_catalog.format('(SELECT 1) AS one_row LEFT JOIN (SELECT %s FROM %s WHERE false) AS no_row ON true',
        pg_catalog.string_agg(pg_catalog.format('(%s) AS k%s', e.sql, e.ord), ', ' ORDER BY e.ord), source) INTO v_rows
    FROM pg_catalog.unnest(v_elements) WITH ORDINALITY AS e(sql, ord);
    EXECUTE (SELECT pg_catalog.format('SELECT ARRAY[%s] FROM %s', pg_catalog.string_agg(
                 pg_catalog.format('pg_catalog.pg_typeof(no_row.k%s)::pg_catalog.oid', n), ', ' ORDER BY n), v_rows)
             FROM pg_catalog.generate_series(1, pg_catalog.cardinality(v_elements)) AS n) INTO types;
    EXECUTE (SELECT pg_catalog.format('SELECT ARRAY[%s]::pg_catalog.text[] FROM %s', pg_catalog.string_agg(
                 CASE WHEN t.typcollation <> 0::pg_catalog.oid THEN pg_catalog.format('pg_catalog.pg_collation_for(no_row.k%s)', u.ord) ELSE 'NULL' END,
                 ', ' ORDER BY u.ord), v_rows)
             FROM pg_catalog.unnest(types) WITH ORDINALITY AS u(type, ord)
             JOIN pg_catalog.pg_type t ON t.oid = u.type) INTO collations;
END
$describe$
