-- Purpose: the same for a single row, by its binary image: the text of a large row can exceed the gigabyte that a value may have.
-- Lock: none beyond those of restore_rows, which contains it.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) FROM marked a CROSS JOIN put
WHERE NOT pg_catalog.record_image_eq(ROW({a_compared}), ROW({put_compared}))
