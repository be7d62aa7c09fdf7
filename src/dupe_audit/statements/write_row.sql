-- Purpose: insert one row unless its key exists; return the new row's identity, or the existing one's and whether its data is the same.
-- Lock: ROW EXCLUSIVE on the table; waits for a transaction that is inserting the same key.
-- Again: yes, the key then exists. An existing key uses no value of a sequence.
WITH old AS MATERIALIZED (
    SELECT {identity}, {same} AS same FROM {table} AS {alias} WHERE {match} LIMIT 1
), new AS (
    INSERT INTO {table} AS {alias} ({columns}) SELECT {values} WHERE NOT EXISTS (SELECT FROM old)
    {conflict}
    RETURNING {identity}
)
SELECT true AS inserted, true AS same, new.* FROM new
UNION ALL
SELECT false, old.same, {old_identity} FROM old
