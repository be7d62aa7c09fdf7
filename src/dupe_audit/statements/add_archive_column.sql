-- Purpose: give the archive a column that the table has gained; rows archived earlier get the value that the table gave its rows.
-- Lock: ACCESS EXCLUSIVE on the archive, until the transaction ends.
-- Again: no; archive_drift lists the columns that are still missing.
ALTER TABLE {archive} ADD COLUMN {column} {type}{filling}
