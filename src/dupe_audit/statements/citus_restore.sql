-- Purpose: on the node of a shard, put back the next archived rows of this shard; a row that cannot be put back is noted with the reason.
-- Lock: ROW EXCLUSIVE on the shard and its part of the archive, until the block ends.
-- Again: yes; a row that is marked as restored is not put back twice.
DO $dupe_audit_restore$
DECLARE
    v_low bigint;
    v_high bigint;
    v_size bigint;
    v_id bigint;
    v_row record;
BEGIN
    {settings};
    EXECUTE {restore_window} INTO v_low, v_high, v_size;
    IF v_size = 0 THEN
        RETURN;
    END IF;
    BEGIN
        EXECUTE {restore_rows} INTO v_row USING v_low, v_high;
        IF v_row.marked <> v_row.put OR v_row.changed <> 0 THEN
            RAISE EXCEPTION {differs};
        END IF;
        SET CONSTRAINTS ALL IMMEDIATE;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR raise_exception OR with_check_option_violation
              OR program_limit_exceeded OR out_of_memory OR internal_error THEN
        FOR v_id IN EXECUTE {restore_ids} USING v_low, v_high LOOP
            BEGIN
                EXECUTE {restore_row} INTO v_row USING v_id, v_id;
                IF v_row.marked <> v_row.put OR v_row.changed <> 0 THEN
                    RAISE EXCEPTION {differs};
                END IF;
                SET CONSTRAINTS ALL IMMEDIATE;
            EXCEPTION WHEN data_exception OR integrity_constraint_violation OR raise_exception OR with_check_option_violation
                      OR program_limit_exceeded OR out_of_memory OR internal_error THEN
                EXECUTE {note_problem} USING SQLSTATE || ': ' || SQLERRM, v_id;
            END;
        END LOOP;
    END;
EXCEPTION WHEN OTHERS THEN
    RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = pg_catalog.concat_ws(' ', 'dupe-audit', SQLSTATE, SQLERRM);
END
$dupe_audit_restore$
