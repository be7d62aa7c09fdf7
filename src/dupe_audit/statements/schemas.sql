-- Purpose: ask a revision's query for the names of schemas; as a part of a query, it can be only one, and only read.
-- Lock: none beyond what the query itself takes.
-- Again: yes, it only reads.
SELECT q.*
FROM (
{query}
) AS q
