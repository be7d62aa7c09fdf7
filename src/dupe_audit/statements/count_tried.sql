-- Purpose: count the tried rows, those that still have the key of their survivor, and those that the key still covers.
-- Lock: ACCESS SHARE on the table and the staged list, until the transaction ends.
-- Again: yes, it only reads.
SELECT (SELECT pg_catalog.count(*) FROM pg_temp.dupe_audit_trial) AS tried,
       (SELECT pg_catalog.count(*)
        FROM pg_temp.dupe_audit_trial e{e_key_values}
        JOIN {stage} s ON s.n = e.dupe_audit_n
        JOIN ONLY {table} v ON {v_is_survivor}{v_key_values}
        WHERE {same_key}) AS same_keys,
       (SELECT pg_catalog.count(*) FROM pg_temp.dupe_audit_trial t{t_key_values} WHERE {t_countable}) AS covered
