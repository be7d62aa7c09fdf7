-- Purpose: list everything in the catalog that makes the change impossible or harmful: ids of findings, with their subjects.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH RECURSIVE request AS (
    SELECT {key} AS key, {named} AS named, {expressions} AS expressions, {expression_types}::pg_catalog.oid[] AS expression_types, {constraint_name}::pg_catalog.text AS constraint_name,
           {nulls_not_distinct}::pg_catalog.bool AS nulls_not_distinct
), rel AS (
    SELECT c.*, n.nspname
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = {relid}::pg_catalog.oid
), me AS (
    SELECT r.oid, r.rolsuper, r.rolbypassrls FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER
), key_column AS (
    SELECT a.attnum, a.attname::pg_catalog.text AS attname, a.atttypid, a.atttypmod, a.attcollation, a.attgenerated
    FROM pg_catalog.pg_attribute a
    JOIN rel ON rel.oid = a.attrelid
    JOIN request ON a.attname = ANY (request.key)
    WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT -e.ord::pg_catalog.int2, e.sql, e.type, -1, 0::pg_catalog.oid, ''
    FROM request CROSS JOIN LATERAL unnest(request.expressions, request.expression_types) WITH ORDINALITY AS e(sql, type, ord)
), key_part AS (
    -- The types that a value of the key consists of: domains, array elements, members of composites.
    SELECT k.attnum, k.atttypid AS type FROM key_column k
    UNION
    SELECT part.attnum, inner_type.type
    FROM key_part part
    JOIN pg_catalog.pg_type t ON t.oid = part.type
    CROSS JOIN LATERAL (
        SELECT t.typbasetype AS type WHERE t.typtype = 'd'
        UNION ALL
        SELECT t.typelem WHERE t.typcategory = 'A' AND t.typtype = 'b'
        UNION ALL
        SELECT m.atttypid FROM pg_catalog.pg_attribute m
        WHERE t.typtype = 'c' AND m.attrelid = t.typrelid AND m.attnum > 0 AND NOT m.attisdropped
    ) AS inner_type
), referencing AS (
    -- A partitioned child has a constraint, and so has each of its partitions; the former covers all rows.
    SELECT con.oid, con.conrelid, con.conkey, con.conrelid AS part
    FROM rel
    JOIN pg_catalog.pg_constraint con ON con.confrelid = rel.oid AND con.contype = 'f'
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint up
                      WHERE up.oid = con.conparentid AND up.confrelid = con.confrelid)
    UNION ALL
    SELECT r.oid, r.conrelid, r.conkey, h.inhrelid
    FROM referencing r
    JOIN pg_catalog.pg_class c ON c.oid = r.part AND c.relkind = 'p'
    JOIN pg_catalog.pg_inherits h ON h.inhparent = r.part
), publication AS (
    SELECT p.pubname::pg_catalog.text
           || CASE WHEN NOT p.pubdelete THEN ' (without delete)' WHEN NOT p.pubupdate THEN ' (without update)' ELSE '' END
           || CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_publication_tables pt, rel
                                WHERE pt.pubname = p.pubname AND pt.schemaname = rel.nspname AND pt.tablename = rel.relname
                                  -- The column exists in PostgreSQL 15 and later.
                                  AND (pg_catalog.to_jsonb(pt) ->> 'rowfilter'::pg_catalog.text) IS NOT NULL)
                   THEN ' (with a row filter)' ELSE '' END AS pubname
    FROM pg_catalog.pg_publication p
    WHERE (p.pubdelete OR p.pubupdate)
      AND EXISTS (SELECT FROM pg_catalog.pg_publication_tables pt, rel
                  WHERE pt.pubname = p.pubname AND pt.schemaname = rel.nspname AND pt.tablename = rel.relname)
)
SELECT 'column-missing' AS id, missing AS subject
FROM rel, request, pg_catalog.unnest(pg_catalog.array_cat(request.key, request.named)) AS missing
WHERE rel.relkind IN ('r', 'p')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = rel.oid AND a.attname = missing AND a.attnum > 0 AND NOT a.attisdropped)
UNION ALL
-- Only a script reports this one.
SELECT 'partitioned-table', pg_catalog.format('this script was printed for a table that is not partitioned; print it again with alembic -x dupe_audit.partitioned=%s upgrade --sql', relname)
FROM rel WHERE relkind = 'p'
UNION ALL
SELECT 'not-a-table', CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
                                   WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' ELSE 'relation' END
FROM rel WHERE relkind NOT IN ('r', 'p')
UNION ALL
SELECT 'system-table', nspname FROM rel WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'dupe_audit')
UNION ALL
SELECT 'temporary-table', relname FROM rel WHERE relpersistence = 't'
UNION ALL
SELECT 'unlogged-table', relname FROM rel WHERE relpersistence = 'u'
UNION ALL
SELECT 'inheritance', pg_catalog.string_agg(i.inhrelid::pg_catalog.regclass::pg_catalog.text, ', ')
FROM rel JOIN pg_catalog.pg_inherits i ON i.inhparent = rel.oid WHERE rel.relkind = 'r' HAVING pg_catalog.count(*) > 0
UNION ALL
SELECT 'single-partition', pg_catalog.pg_partition_root(oid)::pg_catalog.text
FROM rel WHERE relispartition
UNION ALL
SELECT 'extension-table', e.extname
FROM rel
JOIN pg_catalog.pg_depend d
  ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AND d.objid = rel.oid AND d.deptype = 'e'
JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
UNION ALL
SELECT 'not-owner', pg_catalog.pg_get_userbyid(relowner)
FROM rel WHERE NOT pg_catalog.pg_has_role(CURRENT_USER, relowner, 'USAGE')
UNION ALL
SELECT 'missing-privilege', pg_catalog.format('CREATE ON DATABASE %I', pg_catalog.current_database())
WHERE pg_catalog.to_regnamespace('dupe_audit') IS NULL
  AND NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
UNION ALL
SELECT 'missing-privilege', pg_catalog.format('TEMPORARY ON DATABASE %I', pg_catalog.current_database())
WHERE NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')
UNION ALL
SELECT 'missing-privilege', 'CREATE, USAGE ON SCHEMA dupe_audit'
FROM pg_catalog.pg_namespace n
WHERE n.nspname = 'dupe_audit'
  AND NOT (pg_catalog.has_schema_privilege(n.oid, 'CREATE') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'))
UNION ALL
SELECT 'missing-privilege', pg_catalog.format('%s ON SCHEMA %I', pg_catalog.string_agg(privilege, ', '), nspname)
FROM rel, pg_catalog.unnest(ARRAY['CREATE', 'USAGE']) AS privilege
WHERE NOT pg_catalog.has_schema_privilege(relnamespace, privilege)
GROUP BY nspname
UNION ALL
SELECT DISTINCT 'missing-privilege', pg_catalog.format('SELECT ON %s', con.conrelid::pg_catalog.regclass)
FROM rel JOIN pg_catalog.pg_constraint con ON con.confrelid = rel.oid AND con.contype = 'f'
WHERE NOT pg_catalog.has_table_privilege(con.conrelid, 'SELECT')
UNION ALL
-- Whether a row obeys a foreign key that was never validated can only be seen in the table that it references.
SELECT DISTINCT 'missing-privilege', pg_catalog.format('SELECT ON %s', con.confrelid::pg_catalog.regclass)
FROM rel JOIN pg_catalog.pg_constraint con ON con.conrelid = rel.oid AND con.contype = 'f' AND NOT con.convalidated
WHERE NOT pg_catalog.has_table_privilege(con.confrelid, 'SELECT')
UNION ALL
-- Only the counters of a transaction's changes show a batch what referential actions did.
SELECT 'changes-not-counted', 'track_counts is off'
FROM me
WHERE NOT pg_catalog.current_setting('track_counts')::pg_catalog.bool AND NOT me.rolsuper
  AND EXISTS (SELECT FROM rel JOIN pg_catalog.pg_constraint con ON con.confrelid = rel.oid
              WHERE con.contype = 'f' AND con.confdeltype IN ('c', 'n', 'd'))
UNION ALL
SELECT 'no-equality', pg_catalog.format('%s (%s)', k.attname, pg_catalog.format_type(k.atttypid, k.atttypmod))
FROM key_column k
WHERE EXISTS (
    SELECT FROM key_part part
    JOIN pg_catalog.pg_type t ON t.oid = part.type
    WHERE part.attnum = k.attnum AND t.typtype NOT IN ('c', 'd') AND NOT (t.typcategory = 'A' AND t.typtype = 'b')
      AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_opclass oc
        JOIN pg_catalog.pg_am am ON am.oid = oc.opcmethod AND am.amname = 'btree'
        WHERE oc.opcdefault AND (
            oc.opcintype = t.oid
            OR (t.typtype = 'e' AND oc.opcintype = 'pg_catalog.anyenum'::pg_catalog.regtype::pg_catalog.oid)
            OR (t.typtype = 'r' AND oc.opcintype = 'pg_catalog.anyrange'::pg_catalog.regtype::pg_catalog.oid)
            OR (t.typtype = 'm' AND oc.opcintype = 'pg_catalog.anymultirange'::pg_catalog.regtype::pg_catalog.oid)
            OR EXISTS (SELECT FROM pg_catalog.pg_cast c
                       WHERE c.castsource = t.oid AND c.casttarget = oc.opcintype
                         AND c.castmethod = 'b' AND c.castcontext = 'i'))))
UNION ALL
SELECT 'virtual-column', attname FROM key_column WHERE attgenerated = 'v'
UNION ALL
SELECT 'reserved-column', a.attname
FROM rel JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid
WHERE a.attname::pg_catalog.text ~ '^dupe_audit_' AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
-- The archive's own columns are the survivor's identity (primary key, or ctid and xmin) and five more.
-- A batch that changes rows returns each row twice, as it was and as it is, with its survivor's identity and three more columns.
SELECT 'too-many-columns', CASE WHEN {changes_rows} THEN pg_catalog.format('a statement with %s columns, of which PostgreSQL allows 1,664', pg_catalog.to_char(own.changed, 'FM9,999'))
                                ELSE pg_catalog.format('an archive with %s columns, of which PostgreSQL allows 1,600', pg_catalog.to_char(own.archived, 'FM9,999')) END
FROM rel
CROSS JOIN LATERAL (
    SELECT c.columns + i.columns + 5 AS archived, 2 * c.columns + i.columns + 3 AS changed
    FROM (SELECT pg_catalog.count(*) AS columns FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped) AS c
    CROSS JOIN (SELECT coalesce(pg_catalog.max(i.indnkeyatts), 2) AS columns FROM pg_catalog.pg_index i
                WHERE i.indrelid = rel.oid AND i.indisprimary AND i.indisvalid) AS i
) AS own
WHERE rel.relkind IN ('r', 'p') AND (own.archived > 1600 OR ({changes_rows} AND own.changed > 1664))
UNION ALL
SELECT 'nulls-not-distinct', pg_catalog.current_setting('server_version')
FROM request WHERE nulls_not_distinct AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 150000
UNION ALL
SELECT 'server-version', pg_catalog.current_setting('server_version')
-- 14.0 to 14.3 can build a corrupt index under concurrent updates (release notes of 14.4, H66).
WHERE pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 140004
UNION ALL
SELECT 'read-only-server', CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'it is a standby' ELSE 'transactions are read-only by default' END
WHERE pg_catalog.pg_is_in_recovery() OR {default_read_only}
UNION ALL
SELECT 'replication-role', pg_catalog.current_setting('session_replication_role')
WHERE pg_catalog.current_setting('session_replication_role') <> 'origin'
UNION ALL
SELECT 'row-security', pg_catalog.format('%I.%I', nspname, relname)
FROM rel CROSS JOIN me
WHERE relrowsecurity AND NOT me.rolsuper AND NOT me.rolbypassrls
  AND (relforcerowsecurity OR NOT pg_catalog.pg_has_role(CURRENT_USER, relowner, 'USAGE'))
UNION ALL
SELECT 'rewrite-rule', r.rulename
FROM rel JOIN pg_catalog.pg_rewrite r ON r.ev_class = rel.oid
WHERE r.ev_type IN ('2', '3', '4') AND r.ev_enabled <> 'D' AND rel.relkind = 'r'
UNION ALL
SELECT CASE WHEN tg.tgtype::pg_catalog.int4 & 8 <> 0 THEN 'delete-trigger' ELSE 'insert-trigger' END, tg.tgname
FROM rel JOIN pg_catalog.pg_trigger tg ON tg.tgrelid = rel.oid
WHERE NOT tg.tgisinternal AND tg.tgenabled IN ('O', 'A') AND tg.tgtype::pg_catalog.int4 & 12 <> 0
UNION ALL
SELECT 'update-trigger', tg.tgname
FROM rel JOIN pg_catalog.pg_trigger tg ON tg.tgrelid = rel.oid
WHERE NOT tg.tgisinternal AND tg.tgenabled IN ('O', 'A') AND tg.tgtype::pg_catalog.int4 & 16 <> 0
UNION ALL
SELECT 'replica-identity', (SELECT pg_catalog.string_agg(pubname, ', ') FROM publication)
FROM rel
-- The leaves of a tree have an identity each.
WHERE rel.relkind = 'r' AND EXISTS (SELECT FROM publication)
  -- A deferrable primary key does not identify rows, nor does an index that was dropped or is not valid (H113).
  AND relreplident <> 'f' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index i
        WHERE i.indrelid = rel.oid AND i.indisvalid AND i.indimmediate
          AND ((relreplident = 'd' AND i.indisprimary) OR (relreplident = 'i' AND i.indisreplident)))
UNION ALL
-- An UPDATE or DELETE fails if a row filter uses a column outside the replica identity, or a column list lacks a column of it.
SELECT 'publication-columns', p.pubname
FROM rel
JOIN pg_catalog.pg_publication_rel pr ON pr.prrelid = rel.oid
JOIN pg_catalog.pg_publication p ON p.oid = pr.prpubid AND (p.pubdelete OR p.pubupdate)
-- Both came with PostgreSQL 15.
CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(pr) ->> 'prqual'::pg_catalog.text AS filter, pg_catalog.to_jsonb(pr) ->> 'prattrs'::pg_catalog.text AS list) AS part
CROSS JOIN LATERAL (
    SELECT ARRAY(SELECT pg_catalog.unnest(i.indkey::pg_catalog.int2[])::pg_catalog.int4 FROM pg_catalog.pg_index i
                 WHERE i.indrelid = pr.prrelid AND ((relreplident = 'd' AND i.indisprimary) OR (relreplident = 'i' AND i.indisreplident))) AS columns
) AS identity
WHERE relreplident <> 'f' AND EXISTS (
        SELECT FROM pg_catalog.regexp_matches(part.filter, ':varattno (\d+)', 'g') AS used WHERE used[1]::pg_catalog.int4 <> ALL (identity.columns))
   OR part.list IS NOT NULL AND (relreplident = 'f' OR NOT identity.columns OPERATOR(pg_catalog.<@) pg_catalog.translate(part.list, '[] ', '{}')::pg_catalog.int4[])
UNION ALL
SELECT 'published-table', (SELECT pg_catalog.string_agg(pubname::pg_catalog.text, ', ') FROM publication)
WHERE EXISTS (SELECT FROM publication)
UNION ALL
SELECT 'published-ledger', p.pubname FROM pg_catalog.pg_publication p WHERE p.puballtables AND p.pubinsert
UNION ALL
SELECT 'subscribed-table', s.subname
FROM rel JOIN pg_catalog.pg_subscription_rel sr ON sr.srrelid = rel.oid JOIN pg_catalog.pg_subscription s ON s.oid = sr.srsubid
UNION ALL
SELECT 'prepared-transaction', p.gid
FROM rel JOIN pg_catalog.pg_locks l ON l.relation = rel.oid AND l.locktype = 'relation'
-- A prepared transaction's locks keep the virtual id of the session that took them; only its transaction id names it.
JOIN pg_catalog.pg_locks x
  ON x.locktype = 'transactionid' AND x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid
WHERE l.pid IS NULL AND p.database = pg_catalog.current_database()
UNION ALL
SELECT 'name-taken', pg_catalog.format('%I.%I', rel.nspname, c.relname)
FROM rel CROSS JOIN request
JOIN pg_catalog.pg_class c ON c.relnamespace = rel.relnamespace AND c.relname = request.constraint_name
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
WHERE i.indrelid IS DISTINCT FROM rel.oid
UNION ALL
SELECT 'name-taken', pg_catalog.format('%I on %I.%I', con.conname, rel.nspname, rel.relname)
FROM rel CROSS JOIN request
JOIN pg_catalog.pg_constraint con ON con.conrelid = rel.oid AND con.conname = request.constraint_name
WHERE con.contype <> 'u'
UNION ALL
SELECT 'no-primary-key', pg_catalog.format('%I.%I', nspname, relname)
FROM rel
WHERE relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = rel.oid AND i.indisprimary AND i.indisvalid)
UNION ALL
SELECT 'foreign-key-unindexed', pg_catalog.format('%s (%s)', con.conrelid::pg_catalog.regclass,
           (SELECT pg_catalog.string_agg(pg_catalog.format('%I', a.attname), ', ' ORDER BY u.ord)
            FROM pg_catalog.unnest(con.conkey) WITH ORDINALITY AS u(attnum, ord)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = u.attnum))
FROM referencing con
WHERE con.part = con.conrelid
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                  WHERE i.indrelid = con.conrelid AND i.indisvalid AND i.indpred IS NULL
                    AND (i.indkey::pg_catalog.int2[])[0:pg_catalog.cardinality(con.conkey) - 1] OPERATOR(pg_catalog.@>) con.conkey)
  -- Scanning less than 1 MiB per extra hurts nobody. Before the first ANALYZE only the counters know of rows, of 36 bytes at least.
  AND (SELECT pg_catalog.sum(greatest(c.relpages::pg_catalog.int8 * pg_catalog.current_setting('block_size')::pg_catalog.int8,
                                      pg_catalog.pg_stat_get_live_tuples(c.oid) * 36::pg_catalog.int8))
       FROM referencing r
       JOIN pg_catalog.pg_class c ON c.oid = r.part
       WHERE r.oid = con.oid) >= 1048576::pg_catalog.numeric
UNION ALL
SELECT 'collation-version', pg_catalog.format('%I', co.collname)
FROM key_column k JOIN pg_catalog.pg_collation co ON co.oid = k.attcollation
WHERE co.collversion IS NOT NULL AND co.collversion <> pg_catalog.pg_collation_actual_version(co.oid)
UNION ALL
SELECT 'long-transaction', pg_catalog.format('pid %s, %s, open for %s s', a.pid,
           coalesce(nullif(a.application_name, ''), 'no application name'),
           pg_catalog.to_char(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start), 'FM999,999,990'))
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.xact_start < pg_catalog.clock_timestamp() - interval '30 seconds'
  AND (a.backend_xmin IS NOT NULL OR EXISTS (
        SELECT FROM pg_catalog.pg_locks l, rel
        WHERE l.pid = a.pid AND l.relation = rel.oid AND l.locktype = 'relation'
          AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')))
