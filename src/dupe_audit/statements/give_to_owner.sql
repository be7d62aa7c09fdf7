-- Purpose: give an object of the ledger to the owner of the cleaned table, and to nobody else.
-- Lock: none on application objects.
-- Again: yes.
ALTER TABLE {object} OWNER TO {owner}
