-- Purpose: report whether an object in schema dupe_audit can be given to a role: it needs CREATE there, except from a superuser.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT me.rolsuper OR pg_catalog.has_schema_privilege(pg_catalog.to_regrole({owner})::pg_catalog.oid, n.oid, 'CREATE')
FROM pg_catalog.pg_roles me CROSS JOIN pg_catalog.pg_namespace n
WHERE me.rolname = CURRENT_USER AND n.nspname = 'dupe_audit'
