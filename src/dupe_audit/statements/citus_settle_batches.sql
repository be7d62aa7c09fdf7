-- Purpose: record what the blocks of batches have done, as counted in the archive.
-- Lock: ROW EXCLUSIVE on dupe_audit.batch, until the transaction ends.
-- Again: yes.
UPDATE dupe_audit.batch b SET archived = counted.archived, spared = counted.size - counted.archived
FROM (VALUES {counted}) AS counted(number, archived, size)
WHERE b.run_id = {run} AND b.number = counted.number
