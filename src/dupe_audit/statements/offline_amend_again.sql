-- Purpose: define what begins a pass over amended rows that have the key of another row, a bounded number of times.
-- Lock: none.
-- Again: yes.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_amend_again(v_run bigint, v_holes pg_catalog.jsonb) RETURNS pg_catalog.jsonb LANGUAGE plpgsql AS $amend$
DECLARE
    v_collisions integer := v_holes ->> 'collisions';
BEGIN
    IF v_collisions = {most_collisions} THEN
        RAISE EXCEPTION 'dupe-audit: after % passes over %, amended rows still have the key of another row. What is amended so far is committed under run %. Let the new value differ for each row, for example by duplicate.number or by the primary key; then print the script again and execute it.',
            v_collisions + 1, v_holes ->> 'table', v_run;
    END IF;
    -- Of two rows with a key, the one that this session has amended is the extra.
    RETURN v_holes || pg_catalog.jsonb_build_object('covered', false, 'collisions', v_collisions + 1,
        'order_by', pg_catalog.concat_ws(', ', {amended_last}, v_holes ->> 'unamended_order'));
END
$amend$
