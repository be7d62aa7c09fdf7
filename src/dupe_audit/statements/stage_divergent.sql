-- Purpose: mark the staged extras that differ from their survivor, because these are amended and the others archived; number only these.
-- Lock: ACCESS SHARE on the table, ROW EXCLUSIVE on the staged list, until the transaction ends.
-- Again: yes.
-- If archived extras were counted too, the numbers would change after a crash, when some of those have left the table.
UPDATE {stage} marked SET amend = true, place = divergent.place
FROM (
    SELECT s.n, 1 + pg_catalog.row_number() OVER (PARTITION BY s.s_tid ORDER BY s.place) AS place
    FROM {stage} s, ONLY {table} e, ONLY {table} v
    WHERE {e_is_extra} AND {v_is_survivor} AND NOT {same_data}
) AS divergent
WHERE marked.n = divergent.n
