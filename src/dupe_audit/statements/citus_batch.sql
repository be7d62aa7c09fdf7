-- Purpose: on the node of a shard, lock, judge and archive the extras of one batch: a transaction of that node alone.
-- Lock: on those rows of the shard as by lock_rows, until the block ends; pairs are skipped if others have locked either row.
-- Again: no; each batch has its own number.
-- Each statement of the block has its own snapshot, so it is the protocol of every batch. Citus passes on the text of an error
-- alone, so that begins with its SQLSTATE.
DO $dupe_audit_batch$
DECLARE
    v_moved record;
BEGIN
    IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'default_transaction_isolation of this role or database has to be read committed on every node';
    END IF;
    {settings};
    {create_locked};
    EXECUTE {lock_rows};
    EXECUTE {move_rows} INTO v_moved;
    IF v_moved.columns_digest IS DISTINCT FROM {columns_digest} THEN
        RAISE EXCEPTION 'the columns of the table changed during the cleanup; the batch was rolled back';
    END IF;
    IF v_moved.judged <> v_moved.deleted OR v_moved.deleted <> v_moved.archived THEN
        RAISE EXCEPTION 'a trigger on the table suppresses deletes; the batch was rolled back';
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = pg_catalog.concat_ws(' ', 'dupe-audit', SQLSTATE, SQLERRM);
END
$dupe_audit_batch$
