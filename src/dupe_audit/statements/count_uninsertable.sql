-- Purpose: count the extras that an INSERT of the same row would refuse, per condition of insertable.
-- Lock: ACCESS SHARE on the table and the tables that it references, until the transaction ends.
-- Again: yes, it only reads.
SELECT {counts} AS counts
FROM ONLY {table} AS {relation}
WHERE EXISTS (SELECT FROM {extras} AS dupe_audit_extra WHERE {is_extra})
