-- Purpose: the condition by which a script restores the rows of one batch at a time, because a row can have been changed in several.
-- Lock: none.
-- Again: yes, it only reads.
CASE WHEN v_holes ? 'after' THEN pg_catalog.format('dupe_audit_id > (%s)', pg_temp.dupe_audit_fill({t_before_batch},
    v_holes || pg_catalog.jsonb_build_object('below', v_below))) ELSE 'true' END
