-- Purpose: take the default or expression away that filled an archive's new column: rows archived later bring their own value.
-- Lock: ACCESS EXCLUSIVE on the archive.
-- Again: no.
ALTER TABLE {archive} ALTER COLUMN {column} DROP {filler}
