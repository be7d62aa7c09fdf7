-- Purpose: take a writer's lock on tables, to notice when a statement of a revision waits for it.
-- Lock: ROW EXCLUSIVE on the tables, on a scratch server, until the transaction ends; not waited for.
-- Again: yes, in a transaction.
LOCK TABLE {tables} IN ROW EXCLUSIVE MODE NOWAIT;
