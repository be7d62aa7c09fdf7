-- Purpose: on the node of a shard, rank the shard and list its extras with their survivors, in a table beside it.
-- Lock: ACCESS SHARE on the shard, until the block ends: it blocks no read and no write.
-- Again: yes; the list is derived and may be lost.
DO $dupe_audit_stage$
BEGIN
    {settings};
    EXECUTE {drop_stage};
    EXECUTE {stage};
    EXECUTE {index_stage};
    EXECUTE {analyze_stage};
END
$dupe_audit_stage$
