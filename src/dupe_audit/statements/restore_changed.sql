-- Purpose: count the rows of a batch that are not in the table as they are in the archive, byte for byte as PostgreSQL prints them.
-- Lock: none beyond those of restore_rows, which contains it.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) FROM (SELECT ROW({a_compared})::pg_catalog.text FROM chosen a
                      EXCEPT ALL
                      SELECT ROW({put_compared})::pg_catalog.text FROM put) AS lost
