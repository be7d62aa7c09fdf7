-- Purpose: keep writers out while what has arrived is archived and the index is built, in one transaction.
-- Lock: EXCLUSIVE on the table, until the transaction ends: it blocks writes and row locks, but no reads; callers limit the wait and the transaction.
-- Again: yes.
-- SHARE, which the build needs, would let others lock the rows that have to go.
LOCK TABLE ONLY {table} IN EXCLUSIVE MODE
