-- Purpose: find the first staged extra of the next group.
-- Lock: ACCESS SHARE on the staged list, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.min(n) FROM {stage} WHERE n > {n} AND place = 2
