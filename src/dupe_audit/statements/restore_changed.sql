-- Purpose: count the rows of a batch that are not in the table as they are in the archive, byte for byte as PostgreSQL prints them.
-- Lock: none beyond those of restore_rows, which contains it.
-- Again: yes, it only reads.
-- Rows arrive in the order in which they were marked. If the binary images of each pair are equal, so are the texts, and none is made.
-- If not, the texts of all rows are compared in any order. Only a full join is never a nested loop, whatever the planner expects.
SELECT CASE WHEN NOT EXISTS (
           SELECT FROM (SELECT a.*, pg_catalog.row_number() OVER () AS dupe_audit_place FROM marked a) AS a
           FULL JOIN (SELECT put.*, pg_catalog.row_number() OVER () AS dupe_audit_place FROM put) AS put
             ON a.dupe_audit_place = put.dupe_audit_place
           WHERE pg_catalog.record_image_eq(ROW({a_compared}), ROW({put_compared})) IS NOT TRUE)
       THEN 0
       ELSE (SELECT pg_catalog.count(*) FROM (SELECT ROW({a_compared})::pg_catalog.text FROM marked a
                                              EXCEPT ALL
                                              SELECT ROW({put_compared})::pg_catalog.text FROM put) AS lost) END
