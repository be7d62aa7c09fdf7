-- Purpose: say whether any extra of a leaf differs from its survivor, before anything is staged.
-- Lock: ACCESS SHARE on the leaf, until the transaction ends.
-- Again: yes, it only reads. It joins by ctid, which is valid within one snapshot.
SELECT EXISTS (
    SELECT FROM ({pairs}) AS pair
    CROSS JOIN LATERAL (SELECT v.* FROM ONLY {table} v WHERE v.ctid = pair.s_tid LIMIT 1) AS v
    CROSS JOIN LATERAL (SELECT e.* FROM ONLY {table} e WHERE e.ctid = pair.e_tid LIMIT 1) AS e
    WHERE NOT {same_data}) AS diverges
