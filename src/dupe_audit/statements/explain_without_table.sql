-- Purpose: let the server read an expression without the table, which fails if it uses a column of the row; nothing is executed.
-- Lock: none, unless a subquery of the expression reads a table.
-- Again: yes, it only plans.
EXPLAIN (FORMAT JSON, COSTS false) SELECT ({expression})
