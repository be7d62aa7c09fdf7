-- Purpose: find the run that is about to be undone, and stop unless all of its rows can be restored to their columns.
-- Lock: ACCESS SHARE on the ledger and the archive, until the transaction ends.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_undo(OUT v_run bigint, OUT v_holes pg_catalog.jsonb) LANGUAGE plpgsql AS $undo$
DECLARE
    v_relid pg_catalog.oid := ({relid});
    v_row record;
    v_found record;
    v_problems text;
    v_archive text;
    v_table text;
    v_sums record;
    v_batches record;
    v_archived bigint;
    v_restored bigint;
BEGIN
    PERFORM pg_temp.dupe_audit_trust(v_relid);
    IF v_relid IS NULL AND {required} THEN
        RAISE EXCEPTION 'dupe-audit: table-missing: table % does not exist; check its schema and the database', {table_name};
    END IF;
    SELECT n.nspname, c.relname INTO v_found
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = v_relid;
    v_table := pg_catalog.format('%I.%I', v_found.nspname, v_found.relname);
    IF pg_catalog.to_regclass('dupe_audit.batch') IS NOT NULL THEN
        {find_same};
        SELECT r.id INTO v_run FROM dupe_audit.run r
        WHERE ({run_relation}) = v_relid AND {condition}
        ORDER BY {order} LIMIT 1;
        IF v_run IS NULL THEN
            SELECT pg_catalog.string_agg(pg_catalog.format('run %s', r.id), ', ' ORDER BY r.id) INTO v_problems
            FROM dupe_audit.run r
            WHERE {outstanding} AND r.schema_name = v_found.nspname AND r.table_name = v_found.relname
              AND ({run_relation}) IS DISTINCT FROM v_relid AND {condition};
            IF v_problems IS NOT NULL THEN
                RAISE EXCEPTION 'dupe-audit: table-replaced: % is not the table whose rows were archived under this name (%). This directive changed nothing. What to do: docs/reference/findings/table-replaced.md', v_table, v_problems;
            END IF;
            SELECT pg_catalog.string_agg('dupe_audit.' || o.name, ', ') INTO v_problems
            FROM ({run_objects}) AS o
            WHERE o.fits AND o.name ~ '^archive_' AND o.run NOT IN (SELECT r.id::pg_catalog.text FROM dupe_audit.run r);
            IF v_problems IS NOT NULL THEN
                RAISE EXCEPTION 'dupe-audit: run-missing: the ledger has no run of this key, but % exists. This directive changed nothing. What to do: docs/reference/findings/run-missing.md', v_problems;
            END IF;
        END IF;
    END IF;
    IF v_run IS NULL THEN
        IF {required} THEN
            IF {any_run_suffices} AND pg_catalog.to_regclass('dupe_audit.batch') IS NOT NULL THEN
                PERFORM FROM dupe_audit.run r WHERE ({run_relation}) = v_relid;
                IF FOUND THEN
                    RETURN;
                END IF;
            END IF;
            RAISE EXCEPTION 'dupe-audit: run-missing: the ledger has no run of this key, but the upgrade of this revision opens one. This directive changed nothing. What to do: docs/reference/findings/run-missing.md';
        END IF;
        RETURN;
    END IF;
    SELECT r.* INTO v_row FROM dupe_audit.run r WHERE r.id = v_run;
    IF v_row.purged_at IS NOT NULL OR v_row.state = 'restored' THEN
        RETURN;
    END IF;
    PERFORM pg_temp.dupe_audit_trust(v_relid, v_run);
    v_archive := pg_catalog.format('dupe_audit.archive_%s', v_run);
    IF pg_catalog.to_regclass(v_archive) IS NULL THEN
        IF v_row.archived + v_row.amended + v_row.merged > v_row.restored + v_row.reverted + v_row.erased THEN
            RAISE EXCEPTION 'dupe-audit: archive-missing: % does not exist, but run % has rows that were neither restored nor purged. This directive changed nothing. What to do: docs/reference/findings/archive-missing.md', v_archive, v_run;
        END IF;
        RETURN;
    END IF;
    EXECUTE pg_temp.dupe_audit_fill({t_restore_fragments}, pg_catalog.jsonb_build_object(
        'relid', v_relid, 'archive', pg_catalog.quote_literal(v_archive), 'run', v_run)) INTO v_found;
    IF v_found.gone IS NOT NULL OR v_found.retyped IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: columns of % changed after the cleanup (missing: %; of another type: %), so the rows of % cannot be restored. This directive changed nothing. Change the table back, or move the rows by hand from %.',
            v_table, coalesce(v_found.gone, 'none'), coalesce(v_found.retyped, 'none'), v_archive, v_archive;
    END IF;
    IF v_found.moved IS NOT NULL THEN
        RAISE EXCEPTION 'dupe-audit: columns % of % are at other positions than when run % archived its rows: columns were renamed, so values could be restored to the wrong one. This directive changed nothing. Rename them back; or, if each still means what its name says: UPDATE dupe_audit.run SET archived_numbers = NULL WHERE id = %;',
            v_found.moved, v_table, v_run, v_run;
    END IF;
    EXECUTE pg_temp.dupe_audit_fill({t_archive_sums}, pg_catalog.jsonb_build_object('archive', v_archive)) INTO v_sums;
    SELECT b.archived, b.restored INTO v_batches FROM ({batch_sums}) AS b;
    v_archived := v_row.archived + v_row.amended + v_row.merged;
    v_restored := v_row.restored + v_row.reverted;
    IF v_archived <> v_sums.archived + v_row.erased OR v_restored <> v_sums.restored
       OR (v_archived, v_restored) <> (v_batches.archived, v_batches.restored) THEN
        RAISE EXCEPTION 'dupe-audit: ledger-mismatch: run % archived % and restored % rows, but % has % and %. What to do: docs/reference/findings/ledger-mismatch.md',
            v_run, v_archived, v_restored, v_archive, v_sums.archived, v_sums.restored;
    END IF;
    v_holes := pg_catalog.to_jsonb(v_found) || pg_catalog.jsonb_build_object('archive', v_archive, 'table', v_table)
        || pg_temp.dupe_audit_images(v_relid, v_run);
END
$undo$
