-- Purpose: record for an earlier run what a trigger wrote into rows that were just changed back, if they were as that run left them.
-- Lock: ROW EXCLUSIVE on the earlier run's table, until the batch commits.
-- Again: no; after restore_images, in the same transaction.
UPDATE {after} f
SET {set_passed_on}
FROM {archive} a
JOIN ONLY {table} put ON {put_is_a}
WHERE a.dupe_audit_id BETWEEN {low} AND {high} AND a.dupe_audit_kind <> 'removed'
  AND a.dupe_audit_restored_at >= pg_catalog.transaction_timestamp()
  AND {a_is_f}
  AND pg_catalog.record_image_eq(ROW({f_compared}), ROW({a_compared_image}))
  AND NOT pg_catalog.record_image_eq(ROW({put_image}), ROW({a_compared_image}))
