-- Purpose: define the function that reports whether a script may drop an index, and stops if the name does not belong to a unique index or the rows of its run could not be restored.
-- Lock: none beyond catalogs, and ACCESS SHARE on the ledger and the archive, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_droppable_index(v_announce pg_catalog.bool, OUT droppable boolean, OUT qualified_name pg_catalog.text)
LANGUAGE plpgsql AS $dropped$
DECLARE
    v_relid pg_catalog.oid := ({relid});
    v_owner record;
    v_users pg_catalog.text;
BEGIN
    PERFORM pg_temp.dupe_audit_trust(v_relid);
    PERFORM * FROM pg_temp.dupe_audit_undo();
    SELECT owner.* INTO v_owner FROM ({name_owner}) AS owner;
    SELECT pg_catalog.format('%I.%I', n.nspname, {name}) INTO qualified_name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = v_relid;
    droppable := coalesce(v_owner.is_index, false);
    IF v_owner.kind IS NOT NULL OR (droppable AND NOT v_owner.is_unique) THEN
        RAISE EXCEPTION 'dupe-audit: not-a-unique-index: % on % is %, not a unique index; nothing was dropped. What to do: docs/reference/findings/not-a-unique-index.md',
            {name}, v_relid::pg_catalog.regclass, CASE v_owner.kind WHEN 'u' THEN 'a unique constraint' WHEN 'p' THEN 'the primary key' ELSE
                CASE WHEN v_owner.kind IS NULL THEN 'an index that is not unique' ELSE 'a constraint of another kind' END END;
    ELSIF NOT droppable THEN
        IF v_announce THEN
            RAISE WARNING 'dupe-audit: index % on % does not exist, so nothing is dropped. If this script was not executed before, check the name.',
                {name}, v_relid::pg_catalog.regclass;
        END IF;
        RETURN;
    END IF;
    IF {keeps_adopted} AND pg_catalog.to_regclass('dupe_audit.run') IS NOT NULL THEN
        droppable := coalesce((SELECT r.adopted_index IS NULL FROM dupe_audit.run r WHERE ({run_relation}) = v_relid AND r.constraint_name = {name}
                               ORDER BY {order} LIMIT 1), true);
    END IF;
    IF NOT droppable THEN
        IF EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = pg_catalog.to_regclass(qualified_name) AND NOT i.indisvalid) THEN
            RAISE EXCEPTION 'dupe-audit: invalid-index: index % existed before the upgrade and must be valid after the downgrade, but its drop was interrupted. A script cannot build it again: downgrade online, without --sql. What to do: docs/reference/findings/invalid-index.md', qualified_name;
        END IF;
        IF v_announce THEN
            RAISE NOTICE 'dupe-audit: index % existed before the upgrade, so it stays', {name};
        END IF;
        RETURN;
    END IF;
    IF v_owner.whole IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: constraint-in-use: % of % is part of % of %; nothing was dropped. First undo the revision that enforces %, or detach the partition: ALTER TABLE % DETACH PARTITION %; What to do: docs/reference/findings/constraint-in-use.md',
            {name}, v_relid::pg_catalog.regclass, v_owner.whole, v_owner.whole_table, v_owner.whole, v_owner.whole_table, v_relid::pg_catalog.regclass;
    END IF;
    v_users := coalesce('foreign keys (' || v_owner.foreign_keys || ')',
                        'publications (' || v_owner.publications || '), for which its index is the replica identity');
    IF v_users IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: constraint-in-use: index % of % is needed by %. What to do: docs/reference/findings/constraint-in-use.md',
            {name}, v_relid::pg_catalog.regclass, v_users;
    END IF;
END
$dropped$
