-- Purpose: count the rows of a table or a query.
-- Lock: ACCESS SHARE.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) FROM {source}
