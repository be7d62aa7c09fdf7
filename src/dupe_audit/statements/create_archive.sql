-- Purpose: create the archive with every column of the table, all nullable, and the identity of each row's survivor.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: no; callers check first whether it exists (relation_exists).
CREATE TABLE {archive} AS
SELECT {t_columns}, {t_identity_as_survivor} FROM ONLY {table} t WITH NO DATA
