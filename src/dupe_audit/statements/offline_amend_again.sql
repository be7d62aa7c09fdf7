-- Purpose: define the function that makes a ranking put the rows last that this run has amended, and stops after too many such passes.
-- Lock: none.
-- Again: yes; a bounded number of times.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_amend_again(v_holes pg_catalog.jsonb, v_collisions integer) RETURNS pg_catalog.jsonb LANGUAGE plpgsql AS $amend$
BEGIN
    IF v_collisions > {most_collisions} THEN
        RAISE EXCEPTION 'dupe-audit: after % passes over %, amended rows still have the key of another row. The rows amended so far are committed under run %. Let the new value differ for each row, for example with duplicate.number or the primary key; then print the script again and execute it.',
            v_collisions, v_holes ->> 'table', v_holes ->> 'run';
    END IF;
    -- Of two rows with a key, the one that this run has amended is the extra.
    RETURN v_holes || pg_catalog.jsonb_build_object('covered', false, 'collisions', v_collisions, 'continues', true,
        'order_by', pg_catalog.concat_ws(', ', pg_catalog.format('EXISTS (%s)', pg_temp.dupe_audit_fill({t_is_amended}, v_holes)), v_holes ->> 'unamended_order'));
END
$amend$
