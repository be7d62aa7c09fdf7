-- Purpose: name the elements of a key as PostgreSQL names them in an index: by its columns, or the function of an expression.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT {elements} FROM ONLY {table} LIMIT 0
