-- Purpose: create the table of what a run makes of rows that stay in the table; a restore changes only rows that still are so.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: no; callers check first whether it exists (relation_exists).
CREATE TABLE {after} AS
SELECT {t_columns} FROM ONLY {table} t WITH NO DATA
