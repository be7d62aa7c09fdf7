-- Purpose: compute an expression for a single row, whose place the enclosing block passes as $1. It is a part of failing_rows.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT {value} FROM {source} WHERE ctid OPERATOR(pg_catalog.=) $1
