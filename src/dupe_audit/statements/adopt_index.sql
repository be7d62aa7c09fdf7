-- Purpose: record that the index existed before this run, with its definition, so that a downgrade builds such an index again; do nothing if a build of ours created it.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends; ACCESS SHARE on the table, to read the definition.
-- Again: yes; before the attach, in its transaction.
UPDATE dupe_audit.run AS r SET constraint_name = {name}, adopted_index = pg_catalog.pg_get_indexdef(i.indexrelid)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE r.id = {run} AND NOT r.building AND NOT r.built AND i.indrelid = {relid}::pg_catalog.oid AND c.relname = {name}
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint con WHERE con.conindid = i.indexrelid AND con.conrelid = i.indrelid AND con.contype IN ('u', 'p', 'x'))
