-- Purpose: with a new snapshot, judge the locked rows again, and return those that are still extras as literals, each with its survivor and key.
-- Lock: ACCESS SHARE on the table, until the batch commits; the rows are locked already.
-- Again: yes; after citus_lock_rows, in the same READ COMMITTED transaction.
-- A delete from a reference table cannot join a local list, so the next statement contains the rows as literals.
SELECT pg_catalog.count(*) AS judged, pg_catalog.string_agg({j_literals}, ', ') AS rows
FROM {locked} extra
JOIN {locked} survivor ON survivor.n = extra.n AND survivor.survivor
JOIN {stage} s ON s.n = extra.n
JOIN ONLY {table} e ON {e_is_extra}{e_key_values}
JOIN ONLY {table} v ON {v_is_survivor}{v_key_values}
WHERE NOT extra.survivor
  AND {same_key}
  AND ({same_data} OR NOT {refuse_divergent})
  AND {e_unreferenced}
