-- Purpose: define the function that returns the first constraint of the table that rows violate, with their number; NULL if there is none.
-- Lock: ACCESS SHARE on the table and on those that it references, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_violated(v_run bigint, v_holes pg_catalog.jsonb, v_extras pg_catalog.text, v_is_extra pg_catalog.text,
    OUT v_subject pg_catalog.text, OUT v_count bigint) LANGUAGE plpgsql AS $violated$
DECLARE
    v_relid pg_catalog.oid := v_holes ->> 'relid';
    v_rule dupe_audit.run;
    v_subjects text[];
    v_counting pg_catalog.text;
    v_counts bigint[];
BEGIN
    SELECT r.* INTO v_rule FROM dupe_audit.run r WHERE r.id = v_run;
    SELECT i.subjects, i.counts INTO v_subjects, v_counting FROM ({insertable}) AS i;
    IF v_counting IS NOT NULL THEN
        EXECUTE pg_temp.dupe_audit_fill({t_count_uninsertable}, v_holes || pg_catalog.jsonb_build_object(
            'counts', v_counting, 'extras', v_extras, 'is_extra', v_is_extra)) INTO v_counts;
        SELECT u.subject, u.number INTO v_subject, v_count
        FROM unnest(v_subjects, v_counts) WITH ORDINALITY AS u(subject, number, ord) WHERE u.number > 0 ORDER BY u.ord LIMIT 1;
    END IF;
END
$violated$
