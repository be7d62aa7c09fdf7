-- Purpose: empty the list of locked rows.
-- Lock: ROW EXCLUSIVE on the list, until the transaction ends.
-- Again: yes.
DELETE FROM {locked}
