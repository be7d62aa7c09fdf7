-- Purpose: let the script find operators in pg_catalog before any other schema, as the online way does; keep the path.
-- Lock: none.
-- Again: yes.
DO $path$
BEGIN
    PERFORM pg_catalog.set_config('dupe_audit.search_path', pg_catalog.current_setting('search_path'), false);
    PERFORM pg_catalog.set_config('search_path', pg_catalog.ltrim(pg_catalog.regexp_replace(
        pg_catalog.current_setting('search_path'), '(^|,)\s*"?pg_catalog"?\s*(?=,|$)', '', 'gi'), ', '), false);
END
$path$
