-- Purpose: insert one row unless its key exists in a part of the table; return what write_row.sql would.
-- Lock: ROW EXCLUSIVE on the table; waits for a transaction that is inserting the same key.
-- Again: yes, the key then exists. An existing key uses a value of a sequence: only the INSERT knows whether the row is in the part.
WITH new AS (
    INSERT INTO {table} AS {alias} ({columns}) VALUES ({values})
    {conflict}
    RETURNING {identity}
), old AS (
    SELECT {same} AS same, {identity} FROM {table} AS {alias} WHERE ({match}) AND NOT EXISTS (SELECT FROM new)
    -- A full index that was dropped meanwhile no longer rejects the row, but its key may still have rows outside the predicate.
    ORDER BY ({where}) IS TRUE DESC LIMIT 1
)
SELECT true AS inserted, true AS same, new.* FROM new
UNION ALL
SELECT false, old.same, {old_identity} FROM old
