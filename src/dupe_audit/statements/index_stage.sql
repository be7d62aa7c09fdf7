-- Purpose: add the staged list's primary key, and a column for the number of children of each extra.
-- Lock: ACCESS EXCLUSIVE on the list, until the transaction ends; no other session uses it.
-- Again: no; once after stage, in the same transaction.
ALTER TABLE {stage} ADD PRIMARY KEY (n), ADD COLUMN children bigint DEFAULT 0
