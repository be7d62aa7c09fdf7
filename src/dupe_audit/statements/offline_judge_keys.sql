-- Purpose: execute a judgement of a script that computes keys. The server's message about a key that fails could contain a value of a row, so another one takes its place.
-- Lock: those of the judgement.
-- Again: yes.
BEGIN
    {judgement};
EXCEPTION WHEN OTHERS OR assert_failure THEN
    IF NOT pg_catalog.starts_with(SQLERRM, 'dupe-audit: ') THEN
        PERFORM pg_temp.dupe_audit_failing(v_holes, v_texts, v_holes ->> 'predicate', SQLSTATE, '');
    END IF;
    RAISE;
END;
