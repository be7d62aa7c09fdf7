-- Purpose: build the unique index in a transaction that holds the writers.
-- Lock: SHARE on the table, until the transaction ends; the transaction holds EXCLUSIVE already (lock_writers).
-- Again: no; if the transaction is rolled back, nothing of the index remains.
CREATE UNIQUE INDEX {name} ON {table} ({key_columns}){include}{nulls}{options}{where}
