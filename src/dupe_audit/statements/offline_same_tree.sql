-- Purpose: define the function that stops the script if a partition was added, removed or replaced since the script first worked on the table.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_same_tree(v_root pg_catalog.oid, v_note pg_catalog.text) RETURNS pg_catalog.void LANGUAGE plpgsql AS $tree$
DECLARE
    v_changes pg_catalog.text;
BEGIN
    SELECT pg_catalog.string_agg(DISTINCT changed.name || ' ' || CASE WHEN changed.before AND changed.now THEN 'was replaced or moved' WHEN changed.now THEN 'was added' ELSE 'was removed' END, ', ')
    INTO v_changes
    FROM (
        SELECT coalesce(t.name, n.name) AS name, pg_catalog.bool_or(n.relid IS NOT NULL) AS before, pg_catalog.bool_or(t.relid IS NOT NULL) AS now
        FROM (SELECT tree.relid, tree.parent, tree.is_tree, tree.name FROM ({tree}) AS tree WHERE tree.level > 0) AS t
        FULL JOIN (SELECT noted.* FROM pg_temp.dupe_audit_tree noted WHERE noted.root = v_root) AS n
          ON n.relid = t.relid AND n.parent = t.parent AND n.is_tree = t.is_tree
        WHERE t.relid IS NULL OR n.relid IS NULL
        GROUP BY 1
    ) AS changed;
    IF v_changes IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: the partitions of % have changed since this script began: %. % Execute this script again: it continues with the partitions that exist then.',
            v_root::pg_catalog.regclass, v_changes, v_note;
    END IF;
END
$tree$
