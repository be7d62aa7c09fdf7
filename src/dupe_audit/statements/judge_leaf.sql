-- Purpose: say whether any extra of a leaf differs from its survivor, before anything is staged.
-- Lock: ACCESS SHARE on the leaf, until the transaction ends.
-- Again: yes, it only reads. It joins by ctid, which is valid within one snapshot.
SELECT EXISTS (
    SELECT FROM ({pairs}) AS pair
    JOIN ONLY {table} v ON v.ctid = pair.s_tid
    JOIN ONLY {table} e ON e.ctid = pair.e_tid
    WHERE NOT {same_data}) AS diverges
