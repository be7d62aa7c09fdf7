-- Purpose: give the archive a column that the table has gained; rows archived before get the value they would have got in the table.
-- Lock: ACCESS EXCLUSIVE on the archive.
-- Again: no; archive_drift.sql lists what is missing.
ALTER TABLE {archive} ADD COLUMN {column} {type}{filling}
