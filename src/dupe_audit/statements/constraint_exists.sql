-- Purpose: ask the catalog whether a table has a unique constraint of that name.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = ({relid}) AND c.conname = {name} AND c.contype = 'u'
)
