-- Purpose: name the database that a connection of the project's env.py is in.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.current_database()
