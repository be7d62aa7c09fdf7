-- Purpose: change again the tried rows that have the key of another row, as a further pass would, and count them.
-- Lock: ACCESS SHARE on the table and the staged list, until the transaction ends.
-- Again: yes; each time is one more pass.
WITH arrived AS MATERIALIZED (
    SELECT {t_key_hash} AS hash FROM pg_temp.dupe_audit_trial t{t_key_values} WHERE {t_countable}
), candidate AS MATERIALIZED (
    SELECT pg_catalog.row_number() OVER () AS dupe_audit_id, present.*
    FROM (
        SELECT {t_columns}, NULL::pg_catalog.tid AS dupe_audit_tid
        FROM ONLY {table} t{t_key_values}
        WHERE {t_countable} AND {t_key_hash} IN (SELECT arrived.hash FROM arrived)
          AND NOT EXISTS (SELECT FROM (SELECT s.* FROM {stage} s WHERE {s_amends}) AS w WHERE {t_is_w})
        UNION ALL
        SELECT {t_columns}, t.ctid FROM pg_temp.dupe_audit_trial t
    ) AS present
), ranked AS MATERIALIZED (
    SELECT t.dupe_audit_tid AS tid, t.dupe_audit_id AS e_id, pg_catalog.first_value(t.dupe_audit_id) OVER w AS v_id,
           pg_catalog.row_number() OVER w AS place
    FROM candidate t{t_key_values}{t_order_values}
    WHERE {t_countable}
    WINDOW w AS (PARTITION BY {partition_by} ORDER BY t.dupe_audit_tid IS NOT NULL, {order_by} ROWS UNBOUNDED PRECEDING)
), judged AS MATERIALIZED (
    SELECT s.tid, {changes}
    FROM ranked s
    JOIN candidate e ON e.dupe_audit_id = s.e_id
    JOIN candidate v ON v.dupe_audit_id = s.v_id{new_values}
    WHERE s.place > 1 AND s.tid IS NOT NULL
), changed AS (
    UPDATE pg_temp.dupe_audit_trial t
    SET {set_columns}
    FROM judged j
    WHERE t.ctid = j.tid
    RETURNING 1
)
SELECT pg_catalog.count(*) FROM changed
