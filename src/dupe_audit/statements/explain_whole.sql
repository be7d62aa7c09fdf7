-- Purpose: let the server read an expression without parentheses around it, which a text such as "a) || (b" would close; nothing is executed.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only plans.
EXPLAIN (FORMAT JSON, COSTS false) SELECT CASE WHEN true THEN {expression} END FROM {source}
