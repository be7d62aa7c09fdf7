-- Purpose: count the staged extras and their groups.
-- Lock: none on application objects.
-- Again: yes, it only reads.
SELECT pg_catalog.count(*) AS extras, pg_catalog.count(*) FILTER (WHERE place = 2) AS groups FROM {stage}
