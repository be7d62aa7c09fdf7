-- Purpose: stop if a role that is not trusted could have prepared the ledger, or if an earlier version made it; nothing in it is read.
-- Lock: none beyond catalogs.
-- Again: yes.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_trust(v_relid pg_catalog.oid, v_run bigint DEFAULT NULL) RETURNS pg_catalog.void LANGUAGE plpgsql AS $trust$
DECLARE
    v_problems text;
BEGIN
    SELECT pg_catalog.string_agg(t.problem, '; ') INTO v_problems FROM ({trust}) AS t;
    IF v_problems IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: untrusted-ledger: schema dupe_audit cannot be trusted: %. What to do: docs/reference/findings/untrusted-ledger.md', v_problems;
    END IF;
    IF (SELECT s.created AND NOT s.current FROM ({shape}) AS s) THEN
        RAISE EXCEPTION 'dupe-audit: an earlier version created the ledger of this database; as its owner, execute the statements that the command dupe-audit runs prints, then execute this script again';
    END IF;
END
$trust$
