-- Purpose: execute what judges a directive in one schema, and note why it is refused, so that the other schemas are judged too.
-- Lock: as what it executes.
-- Again: yes; a schema that was refused already is not judged again.
DO $collect$
DECLARE
    v_refused pg_catalog.jsonb := coalesce(nullif(pg_catalog.current_setting('dupe_audit.refused', true), ''), '{}')::pg_catalog.jsonb;
BEGIN
    IF NOT v_refused ? {schema} THEN
        EXECUTE {judgement};
    END IF;
EXCEPTION WHEN OTHERS THEN
    -- Such an error would stop every other schema too.
    IF pg_catalog.left(SQLSTATE, 2) = ANY ({about_the_server}) THEN
        RAISE;
    END IF;
    PERFORM pg_catalog.set_config('dupe_audit.refused', (v_refused || pg_catalog.jsonb_build_object({schema}, pg_catalog.format('%s: %s', {subject},
        pg_catalog.replace(pg_catalog.regexp_replace(SQLERRM, '^dupe-audit: ', ''), '; no directive has changed anything', ''))))::pg_catalog.text, true);
END
$collect$
