-- Purpose: create the stage, which holds one batch in the table's types, to compare and insert it in one statement.
-- Lock: none that other sessions wait for; the table is temporary.
-- Again: yes; each commit empties it.
CREATE TEMPORARY TABLE IF NOT EXISTS {stage} (n pg_catalog.int4, {stage_columns}) ON COMMIT DELETE ROWS
