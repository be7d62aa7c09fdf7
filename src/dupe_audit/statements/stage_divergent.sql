-- Purpose: mark the staged extras that differ from their survivor: they are amended, and the others archived.
-- Lock: ACCESS SHARE on the table, ACCESS EXCLUSIVE on the staged list, until the transaction ends.
-- Again: yes.
UPDATE {stage} s SET amend = true
FROM ONLY {table} e, ONLY {table} v
WHERE {e_is_extra} AND {v_is_survivor} AND NOT {same_data}
