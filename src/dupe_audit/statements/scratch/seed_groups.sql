-- Purpose: number the rows of groups: n is a row's number, k that of the first row of its group, d is 1 for the others.
-- Lock: none.
-- Again: yes, it only reads.
SELECT v.n::pg_catalog.int8 AS n, v.k::pg_catalog.int8 AS k, v.d FROM (VALUES {rows}) AS v (n, k, d)
