-- Purpose: compute the columns of generated rows: n is a row's number, k that of the row it copies, d is 1 if its data differs.
-- Lock: ACCESS SHARE on the tables that values are taken from.
-- Again: yes, it only reads.
SELECT r.n AS "dupe_audit n"{more_columns} FROM ({rows}) AS r {joins}
