-- Purpose: create the table that has the changed rows as the run leaves them; a restore changes back only rows that are still the same.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: no; callers check first whether it exists (relation_exists).
CREATE TABLE {after} AS
SELECT {t_columns} FROM ONLY {table} t WITH NO DATA
