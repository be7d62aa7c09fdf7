-- Purpose: drop the list of locked rows.
-- Lock: ACCESS EXCLUSIVE on the list, until the transaction ends.
-- Again: yes.
DROP TABLE IF EXISTS {locked}
