-- Purpose: drop the default or expression that filled an archive's new column: rows archived later bring their own value.
-- Lock: ACCESS EXCLUSIVE on the archive, until the transaction ends.
-- Again: no; it follows add_archive_column once, in the same transaction.
ALTER TABLE {archive} ALTER COLUMN {column} DROP {filler}
