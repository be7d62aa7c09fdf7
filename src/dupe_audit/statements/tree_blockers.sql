-- Purpose: list everything in the catalog that makes the change of a partitioned table impossible or harmful: ids of findings, with table and subject.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH RECURSIVE tree AS (
    SELECT {relid}::pg_catalog.oid AS relid, false AS detaching
    UNION ALL
    SELECT h.inhrelid, h.inhdetachpending FROM tree JOIN pg_catalog.pg_inherits h ON h.inhparent = tree.relid AND NOT tree.detaching
), part AS (
    SELECT c.oid, c.relkind, c.relname, n.nspname, c.relowner, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.relreplident,
           pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, tree.detaching
    FROM tree
    JOIN pg_catalog.pg_class c ON c.oid = tree.relid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
), below AS (
    SELECT part.* FROM part WHERE part.oid <> {relid}::pg_catalog.oid AND NOT part.detaching
), key_column AS (
    -- Each level and leaf numbers its columns by itself.
    SELECT a.attrelid, a.attnum, a.attname::pg_catalog.text AS name, a.attcollation
    FROM pg_catalog.pg_attribute a JOIN part ON part.oid = a.attrelid
    WHERE a.attname::pg_catalog.text = ANY ({key}) AND a.attnum > 0 AND NOT a.attisdropped
), level AS (
    SELECT part.name, part.oid, p.partattrs::pg_catalog.int2[] AS columns, p.partcollation::pg_catalog.oid[] AS collations
    FROM part JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = part.oid
    WHERE NOT part.detaching
), me AS (
    SELECT r.rolsuper OR r.rolbypassrls AS sees_all FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER
)
SELECT 'partition-key-not-covered' AS id, level.name AS table,
       pg_catalog.string_agg(a.attname::pg_catalog.text, ', ' ORDER BY u.ord) AS subject
FROM level
CROSS JOIN LATERAL pg_catalog.unnest(level.columns) WITH ORDINALITY AS u(attnum, ord)
JOIN pg_catalog.pg_attribute a ON a.attrelid = level.oid AND a.attnum = u.attnum
WHERE NOT EXISTS (SELECT FROM key_column k WHERE k.attrelid = level.oid AND k.attnum = u.attnum)
GROUP BY level.name
UNION ALL
SELECT 'partition-key-expression', level.name, pg_catalog.pg_get_partkeydef(level.oid)
FROM level WHERE 0::pg_catalog.int2 = ANY (level.columns)
UNION ALL
SELECT 'partition-collation', level.name, pg_catalog.string_agg(k.name, ', ' ORDER BY u.ord)
FROM level
CROSS JOIN LATERAL unnest(level.columns, level.collations) WITH ORDINALITY AS u(attnum, coll, ord)
JOIN key_column k ON k.attrelid = level.oid AND k.attnum = u.attnum
WHERE u.coll <> k.attcollation
GROUP BY level.name
UNION ALL
SELECT 'foreign-partition', below.name, '' FROM below WHERE below.relkind = 'f'
UNION ALL
SELECT 'detach-pending', part.name, '' FROM part WHERE part.detaching
UNION ALL
SELECT 'partition-owner', below.name, pg_catalog.pg_get_userbyid(below.relowner)
FROM below WHERE NOT pg_catalog.pg_has_role(CURRENT_USER, below.relowner, 'USAGE')
UNION ALL
SELECT 'partition-referenced', below.name, pg_catalog.format('%I on %s', con.conname, con.conrelid::pg_catalog.regclass)
FROM below
JOIN pg_catalog.pg_constraint con ON con.confrelid = below.oid AND con.contype = 'f'
-- What references a leaf through its root has a parent, which references the root.
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint up WHERE up.oid = con.conparentid AND up.confrelid <> con.confrelid)
UNION ALL
SELECT 'missing-privilege', pg_catalog.format('schema %I', n.nspname), pg_catalog.format('CREATE ON SCHEMA %I', n.nspname)
FROM (SELECT DISTINCT c.relnamespace FROM below JOIN pg_catalog.pg_class c ON c.oid = below.oid) AS used
JOIN pg_catalog.pg_namespace n ON n.oid = used.relnamespace
WHERE NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')
UNION ALL
SELECT 'unlogged-table', below.name, below.relname::pg_catalog.text FROM below WHERE below.relkind = 'r' AND below.relpersistence = 'u'
UNION ALL
SELECT 'row-security', below.name, below.name
FROM below CROSS JOIN me
WHERE below.relrowsecurity AND NOT me.sees_all
  AND (below.relforcerowsecurity OR NOT pg_catalog.pg_has_role(CURRENT_USER, below.relowner, 'USAGE'))
UNION ALL
SELECT 'rewrite-rule', below.name, r.rulename::pg_catalog.text
FROM below JOIN pg_catalog.pg_rewrite r ON r.ev_class = below.oid
WHERE r.ev_type IN ('2', '3', '4') AND r.ev_enabled <> 'D' AND below.relkind = 'r'
UNION ALL
-- Row triggers of the root have copies on each leaf, and are judged once, at the root.
SELECT kind.id, below.name, tg.tgname::pg_catalog.text
FROM below
JOIN pg_catalog.pg_trigger tg ON tg.tgrelid = below.oid AND NOT tg.tgisinternal AND tg.tgparentid = 0::pg_catalog.oid AND tg.tgenabled IN ('O', 'A')
CROSS JOIN LATERAL (VALUES ('delete-trigger', 8), ('insert-trigger', 4), ('update-trigger', 16)) AS kind(id, bit)
WHERE tg.tgtype::pg_catalog.int4 & kind.bit <> 0
UNION ALL
SELECT 'replica-identity', below.name, pg_catalog.string_agg(p.pubname::pg_catalog.text, ', ' ORDER BY p.pubname)
FROM below
JOIN pg_catalog.pg_publication p ON p.pubdelete OR p.pubupdate
WHERE below.relkind = 'r' AND below.relreplident <> 'f'
  AND (p.puballtables OR EXISTS (
        SELECT FROM pg_catalog.pg_publication_rel pr WHERE pr.prpubid = p.oid AND pr.prrelid IN (SELECT part.oid FROM part)))
  AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index i
        WHERE i.indrelid = below.oid AND i.indisvalid AND i.indimmediate
          AND ((below.relreplident = 'd' AND i.indisprimary) OR (below.relreplident = 'i' AND i.indisreplident)))
GROUP BY below.name
UNION ALL
SELECT 'subscribed-table', below.name, s.subname::pg_catalog.text
FROM below JOIN pg_catalog.pg_subscription_rel sr ON sr.srrelid = below.oid JOIN pg_catalog.pg_subscription s ON s.oid = sr.srsubid
UNION ALL
SELECT 'prepared-transaction', below.name, p.gid
FROM below
JOIN pg_catalog.pg_locks l ON l.relation = below.oid AND l.locktype = 'relation' AND l.pid IS NULL
JOIN pg_catalog.pg_locks x ON x.locktype = 'transactionid' AND x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid
WHERE p.database = pg_catalog.current_database()
ORDER BY id, "table", subject
