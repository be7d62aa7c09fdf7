-- Purpose: return those of the given types whose values have a collation.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT t.oid FROM pg_catalog.pg_type t WHERE t.oid IN ({oids}) AND t.typcollation <> 0::pg_catalog.oid
