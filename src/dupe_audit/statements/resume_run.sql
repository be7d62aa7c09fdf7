-- Purpose: continue a run, by the rule that the revision has now.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.run
SET state = 'cleaning', finished_at = NULL, nulls_not_distinct = {nulls_not_distinct},
    keep = {keep}, order_by = {order_by}, divergent = {divergent}, on_reference = {on_reference}, ignored = {ignore},
    batch_size = {batch_size}, pause = {pause}, max_replica_lag = {max_replica_lag}
WHERE id = {run}
