-- Purpose: insert generated rows in the order of their numbers.
-- Lock: ROW EXCLUSIVE on the table, ACCESS SHARE on the tables that values are taken from.
-- Again: no; it would insert the rows again where no key forbids it.
INSERT INTO {table} ({columns})
SELECT {columns} FROM ({query}) AS new_row ORDER BY new_row."dupe_audit n"
{conflict}
