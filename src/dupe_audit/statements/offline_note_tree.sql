-- Purpose: note which partitions a table has when the script first works on it.
-- Lock: none beyond catalogs.
-- Again: yes; it notes the partitions that exist then.
DO $tree$
DECLARE
    v_root pg_catalog.oid := ({relid});
BEGIN
    CREATE TEMPORARY TABLE IF NOT EXISTS pg_temp.dupe_audit_tree (root pg_catalog.oid, relid pg_catalog.oid, parent pg_catalog.oid, is_tree boolean, name pg_catalog.text);
    DELETE FROM pg_temp.dupe_audit_tree WHERE root = v_root;
    INSERT INTO pg_temp.dupe_audit_tree (root, relid, parent, is_tree, name)
    SELECT v_root, t.relid, t.parent, t.is_tree, t.name FROM ({tree}) AS t WHERE t.level > 0;
END
$tree$
