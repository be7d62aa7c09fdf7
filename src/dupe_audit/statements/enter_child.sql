-- Purpose: enter into the ledger a foreign key whose children a run moves, unless it is recorded; return its number.
-- Lock: ROW EXCLUSIVE on dupe_audit.child, until the transaction ends.
-- Again: yes; the same columns and primary key get the same number.
WITH existing AS (
    SELECT number FROM dupe_audit.child
    WHERE run_id = {run} AND relid = {child_relid}::pg_catalog.oid
      AND columns OPERATOR(pg_catalog.=) {columns} AND identity OPERATOR(pg_catalog.=) {identity}
), entered AS (
    INSERT INTO dupe_audit.child (run_id, number, relid, child, constraint_name, identity, columns)
    SELECT {run}, coalesce((SELECT pg_catalog.max(number) FROM dupe_audit.child WHERE run_id = {run}), 0) + 1,
           {child_relid}, {child}, {constraint_name}, {identity}, {columns}
    WHERE NOT EXISTS (SELECT FROM existing)
    RETURNING number
)
SELECT number FROM existing UNION ALL SELECT number FROM entered
