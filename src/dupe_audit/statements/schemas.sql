-- Purpose: execute a revision's query for the names of schemas; inside another query, it can only be a single one that reads.
-- Lock: none beyond what the query itself takes.
-- Again: yes, it only reads.
SELECT q.*
FROM (
{query}
) AS q
