-- Purpose: stop the script if an expression of a key cannot be in an index or computed for some rows, or if a key is too wide for one.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
DO $judge$
DECLARE
    v_relid pg_catalog.oid := ({relid});
    v_holes pg_catalog.jsonb;
BEGIN
    PERFORM pg_temp.dupe_audit_expressions(v_relid, {expressions}, {predicate}, ARRAY[]::pg_catalog.text[], {note});
    SELECT pg_catalog.to_jsonb(f) INTO v_holes FROM ({fragments}) AS f;
    PERFORM pg_temp.dupe_audit_measure(v_holes, {judge_width}, {note});
END
$judge$
