-- Purpose: compute the expressions of the order for every row that is compared, so that one that fails is known before anything moves.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT pg_catalog.count(ROW({order_values}))
FROM {t_source}{t_order_values}
WHERE {t_countable}
