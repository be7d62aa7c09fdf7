-- Purpose: define the function that says why a row cannot be changed, without a value of it.
-- Lock: none.
-- Again: yes.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_why(v_code pg_catalog.text, v_constraint pg_catalog.text, v_column pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql AS $why$
BEGIN
    RETURN CASE WHEN v_constraint <> '' THEN pg_catalog.format('constraint %s forbids the new row', v_constraint)
        WHEN v_code = {not_null_violation} AND v_column <> '' THEN pg_catalog.format('column %s must not be NULL', v_column)
        WHEN v_code = {not_null_violation} THEN 'a value must not be NULL'
        WHEN v_code LIKE 'P0%' THEN pg_catalog.format('a trigger or a function rejects it (SQLSTATE %s)', v_code)
        ELSE coalesce({reasons}::pg_catalog.jsonb ->> v_code, pg_catalog.format('the value cannot be computed (SQLSTATE %s)', v_code)) END;
END
$why$
