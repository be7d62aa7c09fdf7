-- Purpose: fill the holes of a template with values from the catalog, in one pass, as the online way does.
-- Lock: none.
-- Again: yes.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_fill(template pg_catalog.text, holes pg_catalog.jsonb) RETURNS pg_catalog.text LANGUAGE plpgsql AS $fill$
DECLARE
    part pg_catalog.text[];
    filled pg_catalog.text := '';
BEGIN
    FOR part IN SELECT m FROM pg_catalog.regexp_matches(template, '([^{]*)(?:[{](\w+)[}])?', 'g') AS m LOOP
        IF part[2] IS NOT NULL AND holes ->> part[2] IS NULL THEN
            RAISE EXCEPTION 'dupe-audit: a template has no value for its hole %', part[2];
        END IF;
        filled := filled || part[1] || coalesce(holes ->> part[2], '');
    END LOOP;
    RETURN filled;
END
$fill$
