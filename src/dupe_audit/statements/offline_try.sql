-- Purpose: define the function that tries an index over each expression and the predicate on a temporary copy, and stops the script if PostgreSQL refuses one.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, nothing of it remains.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_try(v_relid pg_catalog.oid, v_expressions pg_catalog.text[], v_predicate pg_catalog.text, v_note pg_catalog.text)
RETURNS pg_catalog.void LANGUAGE plpgsql AS $try$
DECLARE
    v_elements pg_catalog.text[] := pg_catalog.array_remove(v_expressions, NULL);
    v_parts pg_catalog.text[] := pg_catalog.array_remove(v_predicate || v_expressions, NULL);
    v_restricted pg_catalog.bool := pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= {restricted_from};
    v_source pg_catalog.text;
    v_copy pg_catalog.text;
    v_queries pg_catalog.text[];
    v_builds pg_catalog.text[];
    v_problem pg_catalog.jsonb;
    v_code pg_catalog.text;
    v_known pg_catalog.text[];
    v_reason pg_catalog.text;
    v_finding pg_catalog.text;
BEGIN
    IF pg_catalog.cardinality(v_parts) = 0 THEN
        RETURN;
    END IF;
    SELECT pg_catalog.format('FROM ONLY %I.%I AS %I', n.nspname, c.relname, c.relname), pg_catalog.format('pg_temp.%I', c.relname) INTO v_source, v_copy
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = v_relid;
    v_queries := ARRAY(
        SELECT CASE WHEN v_predicate IS NULL OR p.ord = 1
                    THEN pg_catalog.format('SELECT pg_catalog.count((%s)) %s', p.sql, v_source)
                    ELSE pg_catalog.format('SELECT pg_catalog.count(CASE WHEN (%s) THEN (%s) END) %s', v_predicate, p.sql, v_source) END
        FROM pg_catalog.unnest(v_parts) WITH ORDINALITY AS p(sql, ord) ORDER BY p.ord);
    EXECUTE pg_temp.dupe_audit_fill({t_path_problems}, pg_catalog.jsonb_build_object(
        'queries', pg_catalog.format('%L::pg_catalog.text[]', v_queries), 'texts', pg_catalog.quote_literal(pg_catalog.array_to_string(v_parts, ' '))));
    FOR v_problem IN SELECT p FROM pg_catalog.jsonb_array_elements(pg_catalog.current_setting('dupe_audit.path_problems')::pg_catalog.jsonb) AS p LOOP
        v_code := v_problem ->> 'code';
        CONTINUE WHEN NOT (v_code = ANY ({about_expressions}) OR pg_catalog.left(v_code, 2) = ANY ({about_expressions}));
        v_reason := pg_catalog.format('%s%s (SQLSTATE %s)', v_parts[(v_problem ->> 'number')::pg_catalog.int4],
                                      CASE WHEN v_code = ANY ({not_found}) THEN ': ' || (v_problem ->> 'message') ELSE ' fails' END, v_code);
        IF v_restricted THEN
            RAISE EXCEPTION 'dupe-audit: depends-on-search-path: % (table %)%. What to do: docs/reference/findings/depends-on-search-path.md',
                v_reason, v_relid::pg_catalog.regclass, v_note;
        END IF;
        RAISE WARNING 'dupe-audit: depends-on-search-path: % (table %); autovacuum cannot analyze the table with this index, and a dump of it cannot be restored. What to do: docs/reference/findings/depends-on-search-path.md',
            v_reason, v_relid::pg_catalog.regclass;
    END LOOP;
    -- The whole index without its plain columns, and then its parts.
    v_builds := ARRAY[pg_catalog.format('CREATE UNIQUE INDEX ON %s (%s)%s', v_copy,
            (SELECT coalesce(pg_catalog.string_agg(pg_catalog.format('(%s)', e.sql), ', ' ORDER BY e.ord), '(1)') FROM pg_catalog.unnest(v_elements) WITH ORDINALITY AS e(sql, ord)),
            ' WHERE ' || v_predicate)]
        || ARRAY(SELECT CASE WHEN v_predicate IS NOT NULL AND p.ord = 1 THEN pg_catalog.format('CREATE UNIQUE INDEX ON %s ((1)) WHERE %s', v_copy, p.sql)
                             ELSE pg_catalog.format('CREATE UNIQUE INDEX ON %s ((%s))', v_copy, p.sql) END
                 FROM pg_catalog.unnest(v_parts) WITH ORDINALITY AS p(sql, ord) ORDER BY p.ord);
    EXECUTE pg_temp.dupe_audit_fill({t_try_index}, pg_catalog.jsonb_build_object('relid', v_relid,
        'builds', pg_catalog.format('%L::pg_catalog.text[]', v_builds), 'predicate', pg_catalog.quote_nullable(v_predicate)));
    v_problem := pg_catalog.current_setting('dupe_audit.tried')::pg_catalog.jsonb;
    v_code := v_problem ->> 'code';
    IF v_code IS NULL THEN
        RETURN;
    END IF;
    v_known := CASE v_problem ->> 'on' WHEN 'empty' THEN {of_the_index} WHEN 'rows' THEN {of_any_row} ELSE ARRAY[]::pg_catalog.text[] END;
    IF NOT (v_code = ANY (v_known) OR pg_catalog.left(v_code, 2) = ANY (v_known)) THEN
        RAISE WARNING 'dupe-audit: index-not-tried: SQLSTATE % (table %). What to do: docs/reference/findings/index-not-tried.md', v_code, v_relid::pg_catalog.regclass;
        RETURN;
    END IF;
    v_finding := CASE WHEN v_restricted AND v_code = ANY ({of_the_path}) AND (v_problem ->> 'on' = 'rows' OR v_code <> {undefined_object}) THEN 'depends-on-search-path' ELSE 'index-refused' END;
    -- On an empty table, the message cannot contain a value of a row.
    v_reason := pg_catalog.format('%s%s (SQLSTATE %s)', coalesce(v_parts[(v_problem ->> 'number')::pg_catalog.int4 - 1], 'the key'),
        CASE WHEN v_problem ->> 'on' = 'empty' OR v_code = ANY ({not_found}) THEN ': ' || (v_problem ->> 'message') ELSE ' fails' END, v_code);
    RAISE EXCEPTION 'dupe-audit: %: % (table %)%. What to do: docs/reference/findings/%.md', v_finding, v_reason, v_relid::pg_catalog.regclass, v_note, v_finding;
END
$try$
