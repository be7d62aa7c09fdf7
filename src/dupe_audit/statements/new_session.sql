-- Purpose: return the search path of a new session, and the server's version in its own words.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.current_setting('search_path'), pg_catalog.version()
