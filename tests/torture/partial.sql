-- What differs where the key is lower(k) among the live rows: the value that no two rows may share, and its index.
CREATE OR REPLACE FUNCTION key_of(k text, live boolean) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT CASE WHEN live THEN lower(k) END';

CREATE OR REPLACE VIEW unique_index AS
SELECT i.indexrelid AS oid, i.indisvalid AS valid, i.indisready AS ready,
       (pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid)) IS NOT DISTINCT FROM ('lower(k)', 'live') AS fits
FROM pg_index i
JOIN pg_class ic ON ic.oid = i.indexrelid
WHERE i.indrelid = 'tt'::regclass AND ic.relname = 'tt_unique' AND i.indisunique;
