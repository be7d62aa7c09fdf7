-- Purpose: return types or collations of expressions. They are computed for no row, because an expression can fail for some rows.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
SELECT {facts}
FROM (SELECT 1) AS one_row LEFT JOIN (SELECT {values} FROM {source} WHERE false) AS no_row ON true
