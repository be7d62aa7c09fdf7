-- Purpose: give a constraint, and with it its index, another name.
-- Lock: ACCESS EXCLUSIVE on the table, for an instant.
-- Again: no; the constraint has the new name then.
ALTER TABLE {table} RENAME CONSTRAINT {old} TO {new}
