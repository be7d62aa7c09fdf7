-- Purpose: try staged extras as they will be once amended, unless the application has changed the key of a pair.
-- Lock: ACCESS SHARE on the table and the staged list, until the transaction ends.
-- Again: no; each extra once.
INSERT INTO pg_temp.dupe_audit_trial ({insertable}, dupe_audit_n)
SELECT {e_amended}, s.n
FROM {stage} s
JOIN ONLY {table} e ON {e_is_extra}{e_key_values}
JOIN ONLY {table} v ON {v_is_survivor}{v_key_values}{new_values}
WHERE s.n BETWEEN {low} AND {high} AND {s_amends}
  AND {same_key}
