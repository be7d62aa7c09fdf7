-- Purpose: find the combinations of single values that satisfy a condition.
-- Lock: ACCESS SHARE on the tables that values are taken from.
-- Again: yes, it only reads.
SELECT {cells} FROM (SELECT *{more_columns} FROM {tables}) AS {alias} WHERE {condition} LIMIT {limit}
