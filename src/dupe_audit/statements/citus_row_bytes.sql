-- Purpose: measure the stored bytes of the variable-width columns of a staged row, found by its primary key.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads. It is a part of batch_end.
(SELECT {e_bytes} FROM ONLY {table} e WHERE {e_is_extra})
