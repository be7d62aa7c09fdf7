-- Purpose: give the re-created index the name that the adopted one had.
-- Lock: SHARE UPDATE EXCLUSIVE on the index, until the transaction ends.
-- Again: no; once, in the transaction that drops what had the name.
ALTER INDEX {index} RENAME TO {former}
