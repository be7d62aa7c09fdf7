-- Purpose: comment on the constraint in the catalog.
-- Lock: SHARE UPDATE EXCLUSIVE on the table, for an instant.
-- Again: yes.
COMMENT ON CONSTRAINT {name} ON {table} IS {comment}
