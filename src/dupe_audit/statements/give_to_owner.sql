-- Purpose: give an object of the ledger to the owner of the cleaned table.
-- Lock: ACCESS EXCLUSIVE on the object, until the transaction ends; none on the application's tables.
-- Again: yes.
ALTER TABLE {object} OWNER TO {owner}
