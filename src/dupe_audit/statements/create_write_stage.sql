-- Purpose: hold one batch, typed as the table, so that it can be sorted, compared and inserted at once.
-- Lock: none that anybody else can meet; the table is the session's own.
-- Again: yes; it empties itself at each commit.
CREATE TEMPORARY TABLE IF NOT EXISTS {stage} (n pg_catalog.int4, {stage_columns}) ON COMMIT DELETE ROWS
