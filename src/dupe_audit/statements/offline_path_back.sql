-- Purpose: restore the search path that was in force before the script's own statements (offline_path).
-- Lock: none.
-- Again: yes.
DO $path$
BEGIN
    PERFORM pg_catalog.set_config('search_path', pg_catalog.current_setting('dupe_audit.search_path'), false);
END
$path$
