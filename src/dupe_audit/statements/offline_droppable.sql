-- Purpose: define the procedure that stops the script if the name does not belong to a unique constraint, or to one that had adopted an index; warn if nothing has it.
-- Lock: none beyond catalogs, and ACCESS SHARE on dupe_audit.run.
-- Again: yes, it only reads.
CREATE OR REPLACE PROCEDURE pg_temp.dupe_audit_droppable(v_warn pg_catalog.bool) LANGUAGE plpgsql AS $dropped$
DECLARE
    v_relid pg_catalog.oid := ({relid});
    v_kind text;
    v_index boolean;
    v_ours boolean := false;
    v_adopted boolean := false;
    v_owner record;
BEGIN
    SELECT con.contype INTO v_kind FROM pg_catalog.pg_constraint con WHERE con.conrelid = v_relid AND con.conname = {name};
    v_index := EXISTS (SELECT FROM pg_catalog.pg_class ic JOIN pg_catalog.pg_index i ON i.indexrelid = ic.oid
                       WHERE ic.relname = {name} AND i.indrelid = v_relid);
    PERFORM pg_temp.dupe_audit_trust(v_relid);
    IF pg_catalog.to_regclass('dupe_audit.run') IS NOT NULL THEN
        SELECT r.building, r.adopted_index IS NOT NULL INTO v_ours, v_adopted
        FROM dupe_audit.run r
        WHERE ({run_relation}) = v_relid AND r.constraint_name = {name}
        ORDER BY {order} LIMIT 1;
    END IF;
    v_ours := coalesce(v_ours, false);
    v_adopted := coalesce(v_adopted, false);
    IF v_kind <> 'u' OR (v_kind IS NULL AND v_index AND NOT v_ours AND NOT v_adopted) THEN
        RAISE EXCEPTION 'dupe-audit: not-a-constraint: % on % is %, not a unique constraint; nothing was dropped. What to do: docs/reference/findings/not-a-constraint.md',
            {name}, v_relid::pg_catalog.regclass, CASE WHEN v_kind IS NULL THEN 'an index' ELSE 'a constraint of another kind' END;
    ELSIF v_kind = 'u' AND v_adopted AND {keeps_adopted} THEN
        RAISE EXCEPTION 'dupe-audit: constraint % on % has adopted an index that existed before the upgrade and must exist again after the downgrade. A script cannot build it again: downgrade online, without --sql.',
            {name}, v_relid::pg_catalog.regclass;
    END IF;
    SELECT owner.* INTO v_owner FROM ({name_owner}) AS owner;
    IF v_owner.whole IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: constraint-in-use: % of % is part of % of %; nothing was dropped. First undo the revision that enforces %, or detach the partition: ALTER TABLE % DETACH PARTITION %; What to do: docs/reference/findings/constraint-in-use.md',
            {name}, v_relid::pg_catalog.regclass, v_owner.whole, v_owner.whole_table, v_owner.whole, v_owner.whole_table, v_relid::pg_catalog.regclass;
    ELSIF v_owner.publications IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: constraint-in-use: the constraint of % is needed by publications (%), for which its index is the replica identity. What to do: docs/reference/findings/constraint-in-use.md',
            v_relid::pg_catalog.regclass, v_owner.publications;
    ELSIF v_kind IS NULL AND NOT v_index AND v_warn THEN
        RAISE WARNING 'dupe-audit: constraint % on % does not exist, so nothing is dropped. If this script was not executed before, check the name.',
            {name}, v_relid::pg_catalog.regclass;
    END IF;
END
$dropped$
