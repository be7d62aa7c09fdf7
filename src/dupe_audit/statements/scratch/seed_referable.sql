-- Purpose: choose the rows that other tables shall reference: every row of a few groups under a key, and some in no group.
-- Lock: ACCESS SHARE on the table.
-- Again: yes, it only reads.
WITH keyed AS (
    SELECT {cells}, {keys} FROM {table} AS {alias} WHERE {condition}
), sized AS (
    SELECT keyed.*, pg_catalog.count(*) OVER (PARTITION BY {key_names}) AS size FROM keyed
), ranked AS (
    SELECT sized.*, pg_catalog.dense_rank() OVER (ORDER BY sized.size DESC, {key_names}) AS place FROM sized
)
(SELECT {columns} FROM ranked AS x WHERE x.size > 1 AND x.place <= {groups})
UNION
(SELECT {columns} FROM ranked AS x WHERE x.size = 1 ORDER BY x.place LIMIT {others})
