-- Purpose: name the elements of a key as PostgreSQL names them in an index: after the column, or after the function of an expression.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT {elements} FROM ONLY {table} LIMIT 0
