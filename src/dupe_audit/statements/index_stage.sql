-- Purpose: index the staged list, and make room for the number of children of each extra.
-- Lock: ACCESS EXCLUSIVE on the list, which no other session uses.
-- Again: no; once after stage.sql, in its transaction.
ALTER TABLE {stage} ADD PRIMARY KEY (n), ADD COLUMN children bigint DEFAULT 0
