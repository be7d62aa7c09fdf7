-- Purpose: stop before the version is stamped, unless a condition is true.
-- Lock: those of the condition, which only reads.
-- Again: yes.
DO $guard$
BEGIN
    PERFORM pg_temp.dupe_audit_trust(({relid}));
    IF NOT ({condition}) THEN
        RAISE EXCEPTION 'dupe-audit: %', {problem};
    END IF;
END
$guard$
