-- Purpose: make the archive: every column of the table by name and type, all nullable, plus each row's survivor.
-- Lock: ACCESS SHARE on the table.
-- Again: no; callers ask whether it is there.
CREATE TABLE {archive} AS
SELECT {t_columns}, {t_identity_as_survivor} FROM ONLY {table} t WITH NO DATA
