-- Purpose: describe the table of a shard on its node, together with the pieces of SQL that statements are filled with. It is a query of citus_rows.
-- Lock: none beyond catalogs of the node.
-- Again: yes, it only reads.
SELECT (SELECT pg_catalog.row_to_json(q) FROM ({relation_query}) AS q) AS relation,
       (SELECT pg_catalog.row_to_json(q) FROM ({fragments_query}) AS q) AS holes
