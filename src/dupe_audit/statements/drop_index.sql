-- Purpose: drop an invalid leftover of ours while the application reads and writes.
-- Lock: SHARE UPDATE EXCLUSIVE on the table.
-- Again: yes.
DROP INDEX CONCURRENTLY IF EXISTS {index}
