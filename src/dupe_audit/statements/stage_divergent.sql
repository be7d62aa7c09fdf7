-- Purpose: mark the staged extras that differ from their survivor: they are amended, and the others archived; number them alone.
-- Lock: ACCESS SHARE on the table, ROW EXCLUSIVE on the staged list, until the transaction ends.
-- Again: yes.
-- Numbered together with those that are archived, they would get other numbers after a crash, when some of these have left.
UPDATE {stage} marked SET amend = true, place = divergent.place
FROM (
    SELECT s.n, 1 + pg_catalog.row_number() OVER (PARTITION BY s.s_tid ORDER BY s.place) AS place
    FROM {stage} s, ONLY {table} e, ONLY {table} v
    WHERE {e_is_extra} AND {v_is_survivor} AND NOT {same_data}
) AS divergent
WHERE marked.n = divergent.n
