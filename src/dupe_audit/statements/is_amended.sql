-- Purpose: return whether a row is as this run has amended it. It is part of the order of a further ranking (stage).
-- Lock: ACCESS SHARE on the archive, until the transaction ends.
-- Again: yes, it only reads.
EXISTS (SELECT FROM {archive} a WHERE a.dupe_audit_kind = 'amended' AND a.dupe_audit_restored_at IS NULL AND {t_is_a})
