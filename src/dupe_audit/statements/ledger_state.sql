-- Purpose: report at one moment what of the ledger is not trusted, whether it exists, and whether it has the columns of this version.
-- Lock: none beyond catalogs; nothing in the schema is read.
-- Again: yes, it only reads.
SELECT ARRAY(SELECT t.problem FROM ({trust}) AS t) AS problems, s.has_schema, s.created, s.current
FROM ({shape}) AS s
