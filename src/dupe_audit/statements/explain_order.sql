-- Purpose: let the server read an expression as an order of rows: its type has an order, and it contains no aggregate. Nothing is executed.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only plans.
-- Without CASE, a constant would be read as the number of an output column, or be refused.
EXPLAIN (FORMAT JSON, COSTS false)
SELECT FROM {source} WHERE ({expression}) IS NOT NULL ORDER BY CASE WHEN true THEN {expression} END
