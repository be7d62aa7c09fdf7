-- Purpose: stop the script before anything else if the server is not PostgreSQL, or its address is that of a connection pooler. Without operators, because the search path is not trusted yet.
-- Lock: none.
-- Again: yes, it only reads.
DO $server$
DECLARE
    v_version pg_catalog.text := pg_catalog.version();
    v_sign pg_catalog.text := ({pooled_address});
BEGIN
    IF pg_catalog.textregexeq(v_version, '^CockroachDB') THEN
        RAISE EXCEPTION 'dupe-audit: cockroachdb: the server is not PostgreSQL but %; no directive has changed anything. What to do: docs/reference/findings/cockroachdb.md', v_version;
    ELSIF pg_catalog.textregexeq(v_version, '^PostgreSQL [^ ]*-YB-') THEN
        RAISE EXCEPTION 'dupe-audit: yugabytedb: the server is not PostgreSQL but %; no directive has changed anything. What to do: docs/reference/findings/yugabytedb.md', v_version;
    ELSIF v_sign IS NOT NULL AND {refuses_pooler} THEN
        RAISE EXCEPTION 'dupe-audit: transaction-pooler: % belongs to a connection pooler; in transaction mode, locks and settings would end up in other sessions; no directive has changed anything. What to do: docs/reference/findings/transaction-pooler.md', v_sign;
    END IF;
END
$server$
