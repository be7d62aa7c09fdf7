-- Purpose: stop before a run is undone that changed rows which stay in the table, if the script has no part for them; part of a function.
-- Lock: none.
-- Again: yes, it only reads.
IF v_row.amended + v_row.merged > 0 THEN
        RAISE EXCEPTION 'dupe-audit: run % changed rows of % that stay in the table, but upgrade() of this revision has neither set_ nor merge, so this script does not change them back. This directive changed nothing. Downgrade online, without --sql.',
            v_run, v_table;
    END IF
