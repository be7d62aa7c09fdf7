-- Purpose: name the database and the role of a connection, and the server's version.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.current_database() AS database, CURRENT_USER::pg_catalog.text AS role,
       pg_catalog.current_setting('server_version') AS version
