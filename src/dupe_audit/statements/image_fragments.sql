-- Purpose: derive from the catalog and the ledger the SQL that changes amended and merged rows back.
-- Lock: ACCESS SHARE on dupe_audit.run, until the transaction ends.
-- Again: yes, it only reads.
WITH run AS (
    SELECT r.changed_columns || r.merged_columns AS changed FROM dupe_audit.run r WHERE r.id = {run}
), live AS (
    SELECT a.attname::pg_catalog.text AS name, a.attnum, a.attlen, a.attgenerated <> '' AS generated,
           a.attgenerated = '' AND a.attidentity <> 'a' AS settable, a.attname::pg_catalog.text = ANY (run.changed) AS changed
    FROM pg_catalog.pg_attribute a CROSS JOIN run
    JOIN pg_catalog.pg_attribute b ON b.attrelid = {after}::pg_catalog.regclass::pg_catalog.oid AND b.attname = a.attname
        AND b.attnum > 0 AND NOT b.attisdropped
    WHERE a.attrelid = {relid}::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
), pk AS (
    SELECT a.attname::pg_catalog.text AS name, k.ord,
           pg_catalog.format('OPERATOR(%I.%s)', op_ns.nspname, op.oprname) AS eq
    FROM pg_catalog.pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::pg_catalog.int2[], i.indclass::pg_catalog.oid[]) WITH ORDINALITY AS k(attnum, opclass, ord)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    JOIN pg_catalog.pg_opclass oc ON oc.oid = k.opclass
    JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
        AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
    JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr
    JOIN pg_catalog.pg_namespace op_ns ON op_ns.oid = op.oprnamespace
    WHERE i.indrelid = {relid}::pg_catalog.oid AND i.indisprimary AND i.indisvalid AND k.ord <= i.indnkeyatts
      AND oc.opcmethod = (SELECT am.oid FROM pg_catalog.pg_am am WHERE am.amname = 'btree')
)
SELECT (SELECT CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END FROM pg_catalog.pg_class c WHERE c.oid = {relid}::pg_catalog.oid) AS only,
       (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I %s f.%I', name, eq, name), ' AND ' ORDER BY ord) FROM pk
        -- A primary key that was created since then can have columns for which the run recorded no values.
        HAVING pg_catalog.bool_and(pk.name IN (SELECT live.name FROM live))) AS t_is_f,
       (SELECT pg_catalog.string_agg(pg_catalog.format('put.%I %s f.%I', name, eq, name), ' AND ' ORDER BY ord) FROM pk) AS put_is_f,
       (SELECT pg_catalog.string_agg(pg_catalog.format('put.%I %s a.%I', name, eq, name), ' AND ' ORDER BY ord) FROM pk) AS put_is_a,
       (SELECT pg_catalog.string_agg(pg_catalog.format('a.%I %s f.%I', name, eq, name), ' AND ' ORDER BY ord) FROM pk) AS a_is_f,
       -- Every column that differs, even if an earlier rule of the run or a trigger wrote it; an unchanged large value is not written again.
       pg_catalog.format('coalesce(nullif(pg_catalog.array_to_string(ARRAY[%s], '', ''), ''''), %L)', pg_catalog.string_agg(
           pg_catalog.format('CASE WHEN pg_catalog.bool_or(NOT pg_catalog.record_image_eq(ROW(a.%1$I), ROW(f.%1$I))) THEN %2$L END', name,
               pg_catalog.format(CASE WHEN attlen > 0 THEN '%1$I = a.%1$I'
                                      ELSE '%1$I = CASE WHEN pg_catalog.record_image_eq(ROW(a.%1$I), ROW(f.%1$I)) THEN t.%1$I ELSE a.%1$I END' END, name)),
           ', ' ORDER BY attnum) FILTER (WHERE settable AND NOT is_pk),
           (pg_catalog.array_agg(pg_catalog.format('%1$I = t.%1$I', name) ORDER BY is_pk, attnum) FILTER (WHERE settable))[1]) AS set_back_of_rows,
       pg_catalog.string_agg(pg_catalog.format('%1$I = put.%1$I', name), ', ' ORDER BY attnum) FILTER (WHERE NOT generated) AS set_passed_on,
       pg_catalog.string_agg(pg_catalog.format('t.%I', name), ', ' ORDER BY attnum) FILTER (WHERE NOT generated) AS t_images,
       pg_catalog.string_agg(pg_catalog.format('t.%I', name), ', ' ORDER BY attnum) FILTER (WHERE NOT generated) AS image_compared,
       pg_catalog.string_agg(pg_catalog.format('f.%I', name), ', ' ORDER BY attnum) FILTER (WHERE NOT generated) AS f_compared,
       pg_catalog.string_agg(pg_catalog.format('put.%I', name), ', ' ORDER BY attnum) FILTER (WHERE NOT generated) AS put_image,
       -- A trigger may write the columns again that it wrote when the row was changed.
       pg_catalog.string_agg(pg_catalog.format(CASE WHEN changed THEN 'a.%1$I'
                                                    ELSE 'CASE WHEN pg_catalog.record_image_eq(ROW(a.%1$I), ROW(f.%1$I)) THEN a.%1$I ELSE t.%1$I END' END,
                                               name), ', ' ORDER BY attnum) FILTER (WHERE NOT generated) AS a_expected,
       pg_catalog.string_agg(pg_catalog.format('a.%I', name), ', ' ORDER BY attnum) FILTER (WHERE NOT generated) AS a_compared_image
FROM live CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pk WHERE pk.name = live.name) AS is_pk) AS part
