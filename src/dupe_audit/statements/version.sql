-- Purpose: return the server's name and version in its own words, because not everything that speaks the protocol is PostgreSQL.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.version()
