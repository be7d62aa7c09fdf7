-- Purpose: list, for a message of the script, the columns in which divergent groups differ, each with the number of groups.
-- Lock: none.
-- Again: yes, it reads variables only.
SELECT pg_catalog.string_agg(pg_catalog.format('%s (%s)', counted.name, counted.groups), ', ' ORDER BY counted.groups DESC, counted.ord)
FROM unnest({names}, {counts}) WITH ORDINALITY AS counted(name, groups, ord)
WHERE counted.groups > 0
