-- Purpose: stop the script before it changes anything if a table is a hypertable of TimescaleDB or one of its chunks.
-- Lock: ACCESS SHARE on _timescaledb_catalog.hypertable, if it exists, until the transaction ends.
-- Again: yes, it only reads.
DO $hypertable$
DECLARE
    v_relid pg_catalog.oid := ({relid});
    v_kind pg_catalog.text;
BEGIN
    IF ({hypertable_catalog}) THEN
        EXECUTE {hypertable_kind} INTO v_kind USING v_relid;
        IF v_kind IS NOT NULL THEN
            RAISE EXCEPTION 'dupe-audit: timescaledb-table: table % is a % of TimescaleDB; no directive has changed anything. What to do: docs/reference/findings/timescaledb-table.md', {table_name}, v_kind;
        END IF;
    END IF;
END
$hypertable$
