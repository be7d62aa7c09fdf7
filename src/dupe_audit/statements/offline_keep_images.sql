-- Purpose: define the function that prepares the tables of a run for rows that it changes and that stay in the table.
-- Lock: ACCESS EXCLUSIVE on the archive, ACCESS SHARE on the table, until the transaction ends.
-- Again: yes.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_keep_images(v_relid pg_catalog.oid, v_holes pg_catalog.jsonb) RETURNS pg_catalog.void LANGUAGE plpgsql AS $images$
BEGIN
    EXECUTE pg_temp.dupe_audit_fill({t_add_image_columns}, v_holes);
    IF pg_catalog.to_regclass(v_holes ->> 'after') IS NULL THEN
        EXECUTE pg_temp.dupe_audit_fill({t_create_after}, v_holes);
        EXECUTE pg_temp.dupe_audit_fill({t_finish_after}, v_holes);
        PERFORM pg_temp.dupe_audit_private(v_relid, v_holes ->> 'after');
    END IF;
    PERFORM pg_temp.dupe_audit_adopt(v_relid, v_holes ->> 'after');
END
$images$
