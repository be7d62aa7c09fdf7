-- Purpose: stop the script before its first change if a later constraint of the revision cannot be created.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
DO $judge$
DECLARE
    v_relid pg_catalog.oid := ({relid});
    v_row record;
    v_types pg_catalog.oid[];
BEGIN
    PERFORM pg_temp.dupe_audit_trust(v_relid);
    IF v_relid IS NULL THEN
        RAISE EXCEPTION 'dupe-audit: table-missing: table % does not exist, or it is not on the search path; no directive has changed anything. What to do: docs/reference/findings/table-missing.md', {table_name};
    END IF;
    v_types := pg_temp.dupe_audit_expressions(v_relid, {expressions}, {predicate}, {order_expressions}, '; no directive has changed anything');
    FOR v_row IN {blockers} LOOP
        IF v_row.id = ANY ({errors}) THEN
            RAISE EXCEPTION 'dupe-audit: %: % (table %); no directive has changed anything. What to do: docs/reference/findings/%.md',
                v_row.id, v_row.subject, v_relid::pg_catalog.regclass, v_row.id;
        END IF;
    END LOOP;
    PERFORM pg_temp.dupe_audit_try(v_relid, {expressions}, {predicate}, '; no directive has changed anything');{changes}
END
$judge$
