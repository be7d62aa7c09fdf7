-- What differs where the key of a tree is k among the live rows: an expression is no partition column.
CREATE OR REPLACE FUNCTION key_of(k text, live boolean) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT CASE WHEN live THEN k END';

CREATE OR REPLACE VIEW unique_index AS
SELECT i.indexrelid AS oid, i.indisvalid AS valid, i.indisready AS ready,
       (pg_get_indexdef(i.indexrelid, 1, false), pg_get_expr(i.indpred, i.indrelid)) IS NOT DISTINCT FROM ('k', 'live') AS fits
FROM pg_index i
JOIN pg_class ic ON ic.oid = i.indexrelid
WHERE i.indrelid = 'tt'::regclass AND ic.relname = 'tt_unique' AND i.indisunique;
