-- Purpose: enter into the ledger a foreign key whose children a run moves, unless it is recorded; return its number.
-- Lock: ROW EXCLUSIVE on dupe_audit.child, until the transaction ends.
-- Again: yes; the same columns and primary key get the same number.
WITH existing AS (
    SELECT known.number FROM ({moved_children}) AS known
    WHERE known.relid = {child_relid}::pg_catalog.oid
      AND known.columns OPERATOR(pg_catalog.=) {columns} AND known.identity OPERATOR(pg_catalog.=) {identity}
), entered AS (
    INSERT INTO dupe_audit.child (run_id, number, relid, relation, child, constraint_name, identity, columns, identity_names, column_names)
    SELECT {run}, coalesce((SELECT pg_catalog.max(number) FROM dupe_audit.child WHERE run_id = {run}), 0) + 1,
           {child_relid}, {child_relid}::pg_catalog.oid::pg_catalog.regclass, {child}, {constraint_name}, {identity}, {columns},
           (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY u.ord)
            FROM pg_catalog.unnest({identity}) WITH ORDINALITY AS u(attnum, ord)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = {child_relid}::pg_catalog.oid AND a.attnum = u.attnum),
           (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY u.ord)
            FROM pg_catalog.unnest({columns}) WITH ORDINALITY AS u(attnum, ord)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = {child_relid}::pg_catalog.oid AND a.attnum = u.attnum)
    WHERE NOT EXISTS (SELECT FROM existing)
    RETURNING number
)
SELECT number FROM existing UNION ALL SELECT number FROM entered
