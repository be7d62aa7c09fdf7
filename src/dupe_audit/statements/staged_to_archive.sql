-- Purpose: return the staged extras that leave the table.
-- Lock: ACCESS SHARE on the staged list, until the transaction ends.
-- Again: yes, it only reads. It is part of the query that counts what could not be inserted again.
(SELECT s.* FROM {stage} s WHERE {s_archives})
