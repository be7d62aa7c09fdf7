-- Purpose: create the record of moved children: their primary key, what they referenced, and what they reference since.
-- Lock: ACCESS SHARE on the child, until the transaction ends.
-- Again: no; callers check first whether it exists (relation_exists).
CREATE TABLE {record} AS
SELECT {c_as_i}, {c_as_o}, {c_as_s} FROM {source} c WITH NO DATA
