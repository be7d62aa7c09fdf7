-- Purpose: make the record of moved children: their primary key, what they referenced, and what they reference since.
-- Lock: ACCESS SHARE on the child.
-- Again: no; callers ask whether it is there.
CREATE TABLE {record} AS
SELECT {c_as_i}, {c_as_o}, {c_as_s} FROM {source} c WITH NO DATA
