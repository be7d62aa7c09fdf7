-- Purpose: return whether the plan of same_value says that its two expressions are the same.
-- Lock: none.
-- Again: yes, it only reads; a part of other statements.
SELECT {plan} -> 0 -> 'Plan' -> 'Output' ->> 0 = {plan} -> 0 -> 'Plan' -> 'Output' ->> 1
   AND coalesce(pg_catalog.jsonb_array_length(pg_catalog.jsonb_path_query_first({plan}, '$.**."Sort Key"')), 0) <= 2
