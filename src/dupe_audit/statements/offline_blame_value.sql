-- Purpose: the handler of a batch of a script for a new value that cannot be stored. The server's message would contain the value.
-- Lock: none.
-- Again: yes, it only reads.
WHEN data_exception OR integrity_constraint_violation OR with_check_option_violation OR program_limit_exceeded OR out_of_memory THEN
    GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME, v_table = COLUMN_NAME;
    PERFORM pg_temp.dupe_audit_change_fails(v_holes, SQLSTATE, v_constraint, v_table);
