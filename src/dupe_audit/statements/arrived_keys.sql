-- Purpose: return a hash of the key of each row written after a snapshot, or by a transaction in progress at that snapshot.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads. It is part of a further ranking (stage).
-- MATERIALIZED, because the planner expects a third of the table: with it, a ranking took half as long (measured).
WITH arrived AS MATERIALIZED (
    SELECT {t_key_hash} AS hash
    FROM (
        -- LIMIT ALL, so that keys are computed for these rows only.
        SELECT {t_columns} FROM ONLY {table} t
        -- Ages are compared, because transaction ids start again at 3 after 4,294,967,295.
        WHERE pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) pg_catalog.age('{oldest}'::pg_catalog.xid)
        LIMIT ALL
    ) AS t{t_key_values}
    WHERE {t_countable}
)
SELECT hash FROM arrived
