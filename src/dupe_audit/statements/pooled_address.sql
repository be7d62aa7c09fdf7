-- Purpose: return the host or port of an address if it belongs to a connection pooler in transaction mode; otherwise NULL. For a script, which cannot ask the driver; the same addresses as in postgres/hosts.py.
-- Lock: none.
-- Again: yes, it only reads.
SELECT CASE WHEN pg_catalog.textregexeq(pg_catalog.lower({host}), '-pooler\.|\.proxy-[^.]+\.[^.]+\.rds\.amazonaws\.com(\.cn)?\.?$') THEN pg_catalog.format('host %s', {host})
            WHEN pg_catalog.texteq({port}, '6543') THEN pg_catalog.format('port %s of %s', {port}, {host}) END
