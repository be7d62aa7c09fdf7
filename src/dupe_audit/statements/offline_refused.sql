-- Purpose: stop the script before its first change if schemas were refused, and name all of them.
-- Lock: none.
-- Again: yes, it only reads.
DO $refused$
DECLARE
    v_refused pg_catalog.jsonb := coalesce(nullif(pg_catalog.current_setting('dupe_audit.refused', true), ''), '{}')::pg_catalog.jsonb;
BEGIN
    IF v_refused <> '{}' THEN
        RAISE EXCEPTION 'dupe-audit: refused in % of % schemas; no directive has changed anything%', (SELECT pg_catalog.count(*) FROM pg_catalog.jsonb_object_keys(v_refused)), {schema_count},
            (SELECT pg_catalog.string_agg(E'\n  ' || r.value, '' ORDER BY r.key) FROM pg_catalog.jsonb_each_text(v_refused) AS r);
    END IF;
END
$refused$
