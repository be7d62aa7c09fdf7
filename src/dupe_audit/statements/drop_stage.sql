-- Purpose: drop the staged list of a pass.
-- Lock: ACCESS EXCLUSIVE on the list, until the transaction ends.
-- Again: yes.
DROP TABLE IF EXISTS {stage}
