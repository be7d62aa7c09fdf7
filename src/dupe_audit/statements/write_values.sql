-- Purpose: let the server read the key's expressions over the columns that are written alone; nothing is computed.
-- Lock: none.
-- Again: yes, it only plans.
EXPLAIN SELECT {expressions} FROM (SELECT {nulls}) AS {alias}
