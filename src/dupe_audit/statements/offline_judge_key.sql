-- Purpose: stop the script before a build if an expression cannot be in the index, or cannot be computed for some rows.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
DO $judge$
DECLARE
    v_relid pg_catalog.oid := ({relid});
    v_holes pg_catalog.jsonb;
BEGIN
    PERFORM pg_temp.dupe_audit_expressions(v_relid, {expressions}, {predicate}, ARRAY[]::pg_catalog.text[], {note});
    PERFORM pg_temp.dupe_audit_try(v_relid, {expressions}, {predicate}, {note});
    SELECT pg_catalog.to_jsonb(f) INTO v_holes FROM ({fragments}) AS f;
    PERFORM pg_temp.dupe_audit_measure(v_holes, {expressions}, {predicate}, {judge_width}, {note});
END
$judge$
