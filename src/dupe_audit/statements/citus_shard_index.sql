-- Purpose: on the node of a shard, read whether it has a valid unique index of a definition, in the form that the whole table has.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
-- What follows USING is the same for the table and its shards, whose indexes have other names.
SELECT pg_catalog.count(*) > 0
FROM pg_catalog.pg_index i
LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = i.indexrelid AND con.conrelid = i.indrelid AND con.contype = 'u'
CROSS JOIN LATERAL pg_catalog.pg_get_indexdef(i.indexrelid) AS own(definition)
WHERE i.indrelid = {shard}::pg_catalog.regclass::pg_catalog.oid AND i.indisunique AND i.indisvalid AND i.indisready
  AND pg_catalog.substr(own.definition, pg_catalog.strpos(own.definition, ' USING ')) = {definition}
  AND (con.oid IS NOT NULL) = {is_constraint} AND coalesce(con.condeferrable, false) = {deferrable}
