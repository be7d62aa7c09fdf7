-- Purpose: drop an index whose successor takes its name in the same transaction.
-- Lock: ACCESS EXCLUSIVE on the table and the index, for an instant: it blocks reads and writes.
-- Again: yes.
DROP INDEX IF EXISTS {index}
