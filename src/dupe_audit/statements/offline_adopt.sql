-- Purpose: define the function that adds to a table of a run the columns that the application's table has gained since.
-- Lock: ACCESS EXCLUSIVE on that table of the run if it lacks a column, until the transaction ends.
-- Again: yes.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_adopt(v_relid pg_catalog.oid, v_archive pg_catalog.text) RETURNS pg_catalog.void LANGUAGE plpgsql AS $adopt$
DECLARE
    v_row record;
BEGIN
    FOR v_row IN EXECUTE pg_temp.dupe_audit_fill({t_archive_drift}, pg_catalog.jsonb_build_object(
            'relid', v_relid, 'archive', pg_catalog.quote_literal(v_archive))) LOOP
        IF v_row.archived_type IS NOT NULL THEN
            RAISE EXCEPTION 'dupe-audit: column % is % in the table, but % in %; restore or purge that run first, then execute this script again',
                v_row.name, v_row.type, v_row.archived_type, v_archive;
        END IF;
        EXECUTE pg_catalog.format('ALTER TABLE %s ADD COLUMN %s %s%s', v_archive, v_row.name, v_row.type, v_row.filling);
        IF v_row.filler IS NOT NULL THEN
            EXECUTE pg_catalog.format('ALTER TABLE %s ALTER COLUMN %s DROP %s', v_archive, v_row.name, v_row.filler);
        END IF;
    END LOOP;
END
$adopt$
