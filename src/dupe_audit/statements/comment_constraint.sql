-- Purpose: say in the catalog what the constraint is for.
-- Lock: SHARE UPDATE EXCLUSIVE on the table, for an instant.
-- Again: yes.
COMMENT ON CONSTRAINT {name} ON {table} IS {comment}
