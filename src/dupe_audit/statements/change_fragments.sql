-- Purpose: derive from the catalog every piece of SQL that changes extras, or merges their values into the survivor.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH rel AS (
    SELECT c.oid, c.relname FROM pg_catalog.pg_class c WHERE c.oid = {relid}::pg_catalog.oid
), change AS (
    SELECT c.name, c.value, c.ord
    FROM unnest({changed_columns}, {changed_values}) WITH ORDINALITY AS c(name, value, ord)
), merge AS (
    SELECT m.name, m.how, m.is_sql, m.ord
    FROM unnest({merged_columns}, {merged_by}, {merged_by_sql}) WITH ORDINALITY AS m(name, how, is_sql, ord)
), col AS (
    SELECT a.attnum, a.attname::pg_catalog.text AS name, a.attgenerated <> '' AS generated,
           change.ord AS change,
           -- A Python list arrives as JSON; an array literal never has that form.
           CASE WHEN base.category = 'A' AND change.value ~ '^ ?E?''\[.*\]''$'
                THEN pg_catalog.format('ARRAY(SELECT pg_catalog.jsonb_array_elements_text(%s))', change.value) ELSE change.value END AS value,
           merge.ord AS merge, merge.how, merge.is_sql,
           -- Without a length, so that a value that is too long fails instead of being cut; a domain can have one too.
           base.name AS type, base.builtin,
           pg_catalog.format(CASE WHEN merge.how = 'jsonb_merge' THEN 'coalesce(CAST(m%1$s.value AS %2$s), v.%3$I)' ELSE 'CAST(m%1$s.value AS %2$s)' END,
                             merge.ord, base.name, a.attname) AS merged_value
    FROM rel
    JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
    CROSS JOIN LATERAL (
        WITH RECURSIVE based AS (
            SELECT a.atttypid AS type
            UNION ALL
            SELECT t.typbasetype FROM based JOIN pg_catalog.pg_type t ON t.oid = based.type WHERE t.typtype = 'd'
        )
        SELECT pg_catalog.format('%I.%I', n.nspname, t.typname) AS name, n.nspname = 'pg_catalog' AS builtin, t.typcategory AS category
        FROM based
        JOIN pg_catalog.pg_type t ON t.oid = based.type
        JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        WHERE t.typtype <> 'd'
    ) AS base
    LEFT JOIN change ON change.name = a.attname::pg_catalog.text
    LEFT JOIN merge ON merge.name = a.attname::pg_catalog.text
)
SELECT
    (SELECT pg_catalog.string_agg(pg_catalog.format('e.%I AS b%s', name, attnum), ', ' ORDER BY attnum) FROM col) AS e_as_before,
    (SELECT pg_catalog.string_agg(pg_catalog.format('v.%I AS b%s', name, attnum), ', ' ORDER BY attnum) FROM col) AS v_as_before,
    (SELECT pg_catalog.string_agg(pg_catalog.format('j.b%1$s AS dupe_audit_b%1$s', attnum), ', ' ORDER BY attnum) FROM col) AS j_before,
    (SELECT pg_catalog.string_agg(pg_catalog.format('changed.dupe_audit_b%s', attnum), ', ' ORDER BY attnum) FROM col) AS changed_before,
    (SELECT pg_catalog.string_agg(pg_catalog.format('changed.%I', name), ', ' ORDER BY attnum) FROM col) AS changed_columns,
    (SELECT pg_catalog.string_agg(pg_catalog.format('v.%I', name), ', ' ORDER BY attnum) FROM col) AS v_columns,
    (SELECT pg_catalog.string_agg(pg_catalog.format('a.%I', name), ', ' ORDER BY attnum) FROM col) AS a_columns,
    (SELECT pg_catalog.string_agg(pg_catalog.format('e.%I', name), ', ' ORDER BY attnum) FROM col) AS e_columns,
    (SELECT pg_catalog.string_agg(pg_catalog.format('%I', name), ', ' ORDER BY attnum) FROM col WHERE NOT generated) AS insertable,
    (SELECT pg_catalog.string_agg(coalesce('changes.x' || change, pg_catalog.format('e.%I', name)), ', ' ORDER BY attnum)
     FROM col WHERE NOT generated) AS e_amended,
    (SELECT pg_catalog.string_agg(CASE WHEN merge IS NULL THEN pg_catalog.format('v.%I', name) ELSE merged_value END, ', ' ORDER BY attnum)
     FROM col WHERE NOT generated) AS v_merged,
    (SELECT pg_catalog.string_agg(pg_catalog.format('%I = j.x%s', name, coalesce(change, merge)), ', ' ORDER BY attnum)
     FROM col WHERE change IS NOT NULL OR merge IS NOT NULL) AS set_columns,
    -- The row's own columns are in the innermost scope, so a name alone is a column of the row, not of the survivor.
    (SELECT pg_catalog.format(' CROSS JOIN LATERAL (SELECT v.*) AS survivor CROSS JOIN LATERAL (SELECT s.place AS number) AS duplicate'
                              ' CROSS JOIN LATERAL (SELECT %s FROM (SELECT e.*) AS %I) AS changes',
                              pg_catalog.string_agg(pg_catalog.format('CAST((%s) AS %s) AS x%s', value, type, change), ', ' ORDER BY change),
                              -- If the table itself has that name, survivor.column still means the survivor.
                              CASE WHEN rel.relname IN ('survivor', 'duplicate') THEN 'dupe_audit_row' ELSE rel.relname END)
     FROM col WHERE change IS NOT NULL) AS new_values,
    -- A condition may contain no aggregate, no window function and no function that returns a set; CASE admits only a whole expression.
    (SELECT pg_catalog.format(' CROSS JOIN LATERAL (SELECT FROM (SELECT e.*) AS %I WHERE %s) AS dupe_audit_judged',
                              CASE WHEN rel.relname IN ('survivor', 'duplicate') THEN 'dupe_audit_row' ELSE rel.relname END,
                              pg_catalog.string_agg(pg_catalog.format('CASE WHEN true THEN %s END IS NOT NULL', value), ' OR ' ORDER BY change))
     FROM col WHERE change IS NOT NULL) AS judged_values,
    (SELECT pg_catalog.string_agg(pg_catalog.format('changes.x%s', change), ', ' ORDER BY change) FROM col WHERE change IS NOT NULL) AS changes,
    (SELECT pg_catalog.string_agg(pg_catalog.format('%s AS x%s', merged_value, merge), ', ' ORDER BY merge)
     FROM col WHERE merge IS NOT NULL) AS merged_values,
    (SELECT pg_catalog.format('pg_catalog.record_image_eq(ROW(%s), ROW(%s))',
                              pg_catalog.string_agg(pg_catalog.format('CAST(j.b%s AS %s)', attnum, type), ', ' ORDER BY merge),
                              pg_catalog.string_agg(pg_catalog.format('j.x%s', merge), ', ' ORDER BY merge))
     FROM col WHERE merge IS NOT NULL) AS j_is_merged,
    (SELECT pg_catalog.string_agg(
                pg_catalog.format(CASE
                    -- Only the row, so that a whole-row reference in the aggregate has just the table's columns.
                    WHEN is_sql
                    THEN ' JOIN (SELECT dupe_audit_tid, (%2$s) AS value'
                         ' FROM (SELECT dupe_audit_tid, dupe_audit_member AS dupe_audit_row FROM dupe_audit_member) AS dupe_audit_member'
                         ' CROSS JOIN LATERAL (SELECT %5$s) AS %4$I GROUP BY dupe_audit_tid) AS m%1$s'
                    WHEN how = 'coalesce'
                    THEN ' LEFT JOIN (SELECT DISTINCT ON (dupe_audit_tid) dupe_audit_tid, %3$I AS value FROM dupe_audit_member'
                         ' WHERE %3$I IS DISTINCT FROM NULL ORDER BY dupe_audit_tid, dupe_audit_place) AS m%1$s'
                    -- A JSON null contributes nothing, and any object replaces it.
                    WHEN how = 'jsonb_merge'
                    THEN ' LEFT JOIN (SELECT dupe_audit_tid, coalesce(pg_catalog.jsonb_object_agg(part.key, part.value ORDER BY dupe_audit_place DESC)'
                         ' FILTER (WHERE part.key IS NOT NULL), ''{}''::pg_catalog.jsonb) AS value'
                         ' FROM dupe_audit_member LEFT JOIN LATERAL pg_catalog.jsonb_each(dupe_audit_member.%3$I) AS part ON true'
                         ' WHERE dupe_audit_member.%3$I IS NOT NULL AND pg_catalog.jsonb_typeof(dupe_audit_member.%3$I) OPERATOR(pg_catalog.<>) ''null'' GROUP BY dupe_audit_tid) AS m%1$s'
                    -- By the order of the type's own operator class: citext, for example, has its own, and pg_catalog.min has that of text.
                    WHEN how IN ('min', 'max') AND NOT builtin
                    THEN ' JOIN (SELECT dupe_audit_tid, (pg_catalog.array_agg(%3$I ORDER BY %3$I'
                         || CASE how WHEN 'max' THEN ' DESC' ELSE '' END || ', dupe_audit_place)'
                         ' FILTER (WHERE %3$I IS DISTINCT FROM NULL))[1] AS value FROM dupe_audit_member GROUP BY dupe_audit_tid) AS m%1$s'
                    ELSE ' JOIN (SELECT dupe_audit_tid, pg_catalog.%2$s(%3$I) AS value FROM dupe_audit_member GROUP BY dupe_audit_tid) AS m%1$s' END
                    || ' ON m%1$s.dupe_audit_tid OPERATOR(pg_catalog.=) v.ctid', merge, how, name, rel.relname, member_columns), '' ORDER BY merge)
     FROM col WHERE merge IS NOT NULL) AS merge_sources
FROM rel
CROSS JOIN (SELECT pg_catalog.string_agg(pg_catalog.format('(dupe_audit_row).%I', name), ', ' ORDER BY attnum) AS member_columns FROM col) AS of_member
