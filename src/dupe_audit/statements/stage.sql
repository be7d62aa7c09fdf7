-- Purpose: rank the table, or the keys of its newer rows, and list every extra with its survivor, numbered, each group together.
-- Lock: ACCESS SHARE on the table, until the transaction ends: it blocks no read and no write.
-- Again: no; drop the list first (drop_stage). The list is derived and may be lost.
CREATE {kind} TABLE {stage} AS
SELECT pg_catalog.row_number() OVER () AS n, ranked.*
FROM (
    SELECT {t_identity_as_e}, {t_first_identity_as_s},
           t.ctid AS e_tid, pg_catalog.first_value(t.ctid) OVER w AS s_tid, pg_catalog.row_number() OVER w AS place
    FROM {t_source}{t_order_values}
    WHERE {t_countable} AND {t_to_rank}
    WINDOW w AS (PARTITION BY {partition_by} ORDER BY {order_by} ROWS UNBOUNDED PRECEDING)
) AS ranked
WHERE place > 1
