-- Purpose: record what the index of a run compares before it is dropped, with the names that columns and functions have now.
-- Lock: ROW EXCLUSIVE on dupe_audit.run, until the transaction ends; ACCESS SHARE on the table.
-- Again: yes; without such an index, nothing changes.
UPDATE dupe_audit.run AS dropped
SET index_elements = ix.elements, index_predicate = ix.predicate, column_names = c.names, column_numbers = c.numbers
FROM (SELECT r.id, x.elements, x.predicate FROM dupe_audit.run r CROSS JOIN LATERAL ({index_elements}) AS x WHERE r.id = {run}) AS ix
CROSS JOIN ({column_places}) AS c
WHERE dropped.id = ix.id
