-- Purpose: find the before-image of a row that this run has amended. It is part of the order of a further ranking (stage).
-- Lock: ACCESS SHARE on the archive, until the transaction ends.
-- Again: yes, it only reads.
SELECT FROM {archive} a WHERE a.dupe_audit_kind = 'amended' AND a.dupe_audit_restored_at IS NULL AND {t_is_a}
