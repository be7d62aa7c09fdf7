-- Purpose: count the rows of one child table that reference staged extras.
-- Lock: ACCESS SHARE on the table and on the child.
-- Again: yes, it reads.
SELECT count(*)
FROM {child} c
WHERE EXISTS (SELECT FROM {stage} s JOIN ONLY {table} e ON {e_is_extra} WHERE {condition})
