-- Purpose: stop before the version is stamped, unless a condition is true.
-- Lock: those of the condition, which only reads.
-- Again: yes.
DO $guard$
BEGIN
    IF NOT ({condition}) THEN
        RAISE EXCEPTION 'dupe-audit: %', {problem};
    END IF;
END
$guard$
