-- Purpose: list in a message of the script in which columns divergent groups differ, with the number of groups for each.
-- Lock: none.
-- Again: yes, it reads variables only.
SELECT pg_catalog.string_agg(pg_catalog.format('%s (%s)', counted.name, counted.groups), ', ' ORDER BY counted.groups DESC, counted.ord)
FROM unnest({names}, {counts}) WITH ORDINALITY AS counted(name, groups, ord)
WHERE counted.groups > 0
