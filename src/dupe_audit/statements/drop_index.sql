-- Purpose: drop an invalid index that one of our builds left, while the application reads and writes.
-- Lock: SHARE UPDATE EXCLUSIVE on the table, until it ends; it waits for transactions that use the table.
-- Again: yes.
DROP INDEX CONCURRENTLY IF EXISTS {index}
