-- Purpose: check deferred constraints at the end of each statement: no index can be built while such a check is pending.
-- Lock: none.
-- Again: yes; it lasts until the transaction ends.
SET CONSTRAINTS ALL IMMEDIATE
