-- Purpose: return the expression that hashes the key of a row t, over the elements that can be hashed; 0 if none can.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
-- hash_record() needs a hash operator class with the equality of the type's btree operator class. Elements without one
-- are left out: a hash then stands for more keys.
SELECT coalesce('pg_catalog.hash_record(ROW(' || pg_catalog.string_agg(element.value, ', ' ORDER BY element.attnum, element.value) || '))', '0')
FROM (
    SELECT pg_catalog.format('t.%I', a.attname) AS value, a.atttypid AS type, a.attnum
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = {relid}::pg_catalog.oid AND NOT a.attisdropped AND a.attname::pg_catalog.text = ANY ({key})
    UNION ALL
    SELECT computed.value, computed.type, 0
    FROM unnest({values}, {types}::pg_catalog.oid[]) AS computed(value, type)
) AS element
JOIN pg_catalog.pg_type t ON t.oid = element.type
JOIN pg_catalog.pg_opclass hashed ON hashed.opcdefault
    AND hashed.opcmethod = (SELECT am.oid FROM pg_catalog.pg_am am WHERE am.amname = 'hash')
    AND hashed.opcintype = CASE
        WHEN t.typtype = 'e' THEN 'pg_catalog.anyenum'::pg_catalog.regtype::pg_catalog.oid
        WHEN t.oid = 'pg_catalog.varchar'::pg_catalog.regtype::pg_catalog.oid THEN 'pg_catalog.text'::pg_catalog.regtype::pg_catalog.oid
        ELSE t.oid END
JOIN pg_catalog.pg_opclass sorted ON sorted.opcdefault AND sorted.opcintype = hashed.opcintype
    AND sorted.opcmethod = (SELECT am.oid FROM pg_catalog.pg_am am WHERE am.amname = 'btree')
JOIN pg_catalog.pg_amop equal ON equal.amopfamily = sorted.opcfamily AND equal.amopstrategy = 3
    AND equal.amoplefttype = sorted.opcintype AND equal.amoprighttype = sorted.opcintype
WHERE EXISTS (SELECT FROM pg_catalog.pg_amop same
              WHERE same.amopfamily = hashed.opcfamily AND same.amopopr = equal.amopopr AND same.amopstrategy = 1)
