-- Purpose: execute a revision's query for the names of schemas; as a subquery it can only be a single statement that reads.
-- Lock: none beyond what the query itself takes.
-- Again: yes, it only reads.
SELECT q.*
FROM (
{query}
) AS q
