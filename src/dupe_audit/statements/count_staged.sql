-- Purpose: count the staged extras and their groups.
-- Lock: ACCESS SHARE on the staged list, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) AS extras, pg_catalog.count(*) FILTER (WHERE place = 2) AS groups FROM {stage}
