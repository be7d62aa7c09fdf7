-- Purpose: return the role that will own the ledger's tables: the owner of the schema, if it exists and this role may give them to it.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT coalesce(
    (SELECT pg_catalog.format('%I', pg_catalog.pg_get_userbyid(n.nspowner)) FROM pg_catalog.pg_namespace n
     WHERE n.nspname = 'dupe_audit' AND pg_catalog.pg_has_role(CURRENT_USER, n.nspowner, 'USAGE')),
    {owner})
