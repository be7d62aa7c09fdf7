-- Purpose: record how many changes of rows a batch of a script has reverted.
-- Lock: ROW EXCLUSIVE on the ledger's batches, until the batch ends.
-- Again: no; it is part of the transaction of its batch.
EXECUTE pg_temp.dupe_audit_fill({t_record_images}, pg_catalog.jsonb_build_object(
    'run', v_run.id, 'batch', v_batch, 'amended', 0, 'merged', 0, 'reverted', v_reverted));
