-- Purpose: drop the tables of a run: its archive, its staged list and its records of moved children.
-- Lock: ACCESS EXCLUSIVE on those tables, until the transaction ends.
-- Again: yes.
DROP TABLE IF EXISTS {tables}
