-- Purpose: define the function that returns the SQL that changes rows of a run back, and stops if they could not be changed back.
-- Lock: ACCESS SHARE on the ledger, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_images(v_relid pg_catalog.oid, v_run bigint) RETURNS pg_catalog.jsonb LANGUAGE plpgsql AS $images$
DECLARE
    v_after pg_catalog.text := pg_catalog.format('dupe_audit.after_%s', v_run);
    v_holes pg_catalog.jsonb;
    v_set_back pg_catalog.text;
BEGIN
    IF (SELECT r.amended + r.merged = 0 FROM dupe_audit.run r WHERE r.id = v_run) THEN
        RETURN '{}';
    END IF;
    IF pg_catalog.to_regclass(v_after) IS NULL THEN
        RAISE EXCEPTION 'dupe-audit: table % is missing. It held the changed rows as run % left them; restore it from a backup. dupe_audit.archive_% has the rows as they were before. This directive changed nothing.',
            v_after, v_run, v_run;
    END IF;
    EXECUTE pg_catalog.format('SELECT pg_catalog.to_jsonb(i) FROM (%s) AS i', pg_temp.dupe_audit_fill({t_image_fragments},
        pg_catalog.jsonb_build_object('relid', v_relid, 'run', v_run, 'after', pg_catalog.quote_literal(v_after)))) INTO v_holes;
    IF v_holes ->> 't_is_f' IS NULL THEN
        RAISE EXCEPTION 'dupe-audit: table % no longer has the primary key by which run % would find the rows that it changed; create it again, then execute this script again. This directive changed nothing.',
            v_relid::pg_catalog.regclass, v_run;
    END IF;
    v_holes := v_holes || pg_catalog.jsonb_build_object('after', v_after, 'archive', pg_catalog.format('dupe_audit.archive_%s', v_run));
    EXECUTE pg_temp.dupe_audit_fill({t_set_back}, v_holes) INTO v_set_back;
    RETURN v_holes || pg_catalog.jsonb_build_object('set_back', v_set_back, 'reverted_run', v_run, 'reverted_relid', v_relid);
END
$images$
