-- Purpose: stop before the version is stamped, unless the constraint or index of the root is valid, every part agrees with it, and the leaves were counted without extras.
-- Lock: none beyond catalogs.
-- Again: yes.
DO $guard$
DECLARE
    v_row record;
BEGIN
    PERFORM pg_temp.dupe_audit_trust(({relid}));
    IF NOT (SELECT s.enforced FROM pg_temp.dupe_audit_state() AS s) THEN
        RAISE EXCEPTION 'dupe-audit: constraint-missing: {form} % does not exist, is not valid, or has another definition; the version was not stamped. What to do: docs/reference/findings/constraint-missing.md', {name};
    END IF;
    FOR v_row IN {tree_parts} LOOP
        RAISE EXCEPTION 'dupe-audit: leaf-not-enforced: %: %; the version was not stamped. What to do: docs/reference/findings/leaf-not-enforced.md', v_row.table, v_row.problem;
    END LOOP;
    IF pg_catalog.current_setting('dupe_audit.counted', true) IS DISTINCT FROM {counted} THEN
        RAISE EXCEPTION 'dupe-audit: the duplicates of % were not counted, because an earlier statement failed and psql continued; the version was not stamped. Remove the cause, then execute the script again with psql -v ON_ERROR_STOP=1.', {name};
    END IF;
    RAISE NOTICE 'dupe-audit: {form} % of table % is enforced and valid, and no duplicate was found', {name}, ({relid})::pg_catalog.regclass;
END
$guard$
