-- Purpose: return whether a relation of that name exists in the schema of the table; what judges an index takes fifteen times as long to plan.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class ic
    WHERE ic.relname = {name}
      AND ic.relnamespace = (SELECT c.relnamespace FROM pg_catalog.pg_class c WHERE c.oid = {relid}::pg_catalog.oid)
)
