-- Purpose: end a cleanup, or begin a pass over amended rows that have the key of another row; part of a procedure.
-- Lock: none.
-- Again: yes; a bounded number of times.
IF v_spared = 0 THEN
            EXIT WHEN NOT (v_holes ->> 'covered')::pg_catalog.bool;
            IF (v_holes ->> 'collisions')::pg_catalog.int4 = {most_collisions} THEN
                RAISE EXCEPTION 'dupe-audit: after % passes over %, amended rows still have the key of another row. What is amended so far is committed under run %. Let the new values differ for each row, for example by duplicate.number or by the primary key; then execute the new script.',
                    {most_collisions} + 1, v_holes ->> 'table', v_run;
            END IF;
            -- Of two rows with a key, the one that this session has amended is the extra.
            v_holes := v_holes || pg_catalog.jsonb_build_object('covered', false, 'collisions', (v_holes ->> 'collisions')::pg_catalog.int4 + 1,
                'order_by', pg_catalog.concat_ws(', ', {amended_last}, v_holes ->> 'unamended_order'));
            v_where_staged := {where_staged};
            CONTINUE;
        END IF
