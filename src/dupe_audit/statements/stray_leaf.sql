-- Purpose: name the partition that an archived row was in, if that was detached or dropped and the row would go to a DEFAULT partition.
-- Lock: ACCESS SHARE on the archive, until the transaction ends.
-- Again: yes, it only reads.
SELECT dupe_audit_leaf FROM {archive}
WHERE dupe_audit_id BETWEEN {low} AND {high} AND dupe_audit_restored_at IS NULL AND {is_removed}
  AND dupe_audit_leaf = ANY ({former}) AND ({bounds})
LIMIT 1
