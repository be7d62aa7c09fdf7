-- What differs where extras are amended, or their values merged: two merged columns and an amended one, which the application
-- changes as well; a log of each row before and after a change; and the images that the archives have of changed rows.

ALTER TABLE tt
    ADD COLUMN hits bigint NOT NULL DEFAULT 0,
    ADD COLUMN seen bigint NOT NULL DEFAULT 0,
    ADD COLUMN status text NOT NULL DEFAULT 'new';

CREATE TABLE rule (policy text NOT NULL);

-- A row as far as it can change.
CREATE TYPE image AS (id bigint, k text, v text, live boolean, hits bigint, seen bigint, status text);
CREATE FUNCTION image_of(tt) RETURNS image IMMUTABLE LANGUAGE sql AS 'SELECT ROW($1.id, $1.k, $1.v, $1.live, $1.hits, $1.seen, $1.status)::image';

-- Each change by the application; a new row has no image before it, a deleted one none after it.
CREATE TABLE imagelog (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    before image,
    after image
);

-- The row is locked before it is read, so the log has exactly what the change replaces.
CREATE OR REPLACE FUNCTION change_row(kind text, chosen bigint, key text, token text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    -- Few values, so that some rows of a key are equal.
    few CONSTANT text := 'value ' || ascii(token) % 2;
    much CONSTANT bigint := 1 + abs(hashtext(token)::bigint) % 1000;
    before tt;
    after tt;
BEGIN
    IF kind IN ('insert', 'insert if new') THEN
        INSERT INTO tt (k, v, hits, seen)
        SELECT key, few, much, much % 100
        WHERE kind = 'insert' OR NOT EXISTS (SELECT FROM tt WHERE lower(k) = lower(key) AND live)
        ON CONFLICT DO NOTHING RETURNING * INTO after;
    ELSE
        SELECT * INTO before FROM tt WHERE id = chosen FOR NO KEY UPDATE;
        IF kind = 'delete' THEN
            DELETE FROM tt WHERE id = chosen;
        ELSE
            UPDATE tt SET
                k = CASE kind WHEN 'key' THEN CASE WHEN EXISTS (SELECT FROM parent p WHERE p.id = chosen) THEN k ELSE key END WHEN 'case' THEN split_part(key, ' ', 1) || ' ' || split_part(k, ' ', 2) ELSE k END,
                live = CASE kind WHEN 'flip' THEN NOT live WHEN 'retire' THEN false ELSE live END,
                v = CASE kind WHEN 'data' THEN few ELSE v END,
                hits = CASE kind WHEN 'hits' THEN hits + much ELSE hits END,
                seen = CASE kind WHEN 'hits' THEN seen + much % 100 ELSE seen END,
                status = CASE kind WHEN 'status' THEN token ELSE status END
            WHERE id = chosen RETURNING * INTO after;
        END IF;
    END IF;
    IF coalesce(after.id, before.id) IS NOT NULL THEN
        INSERT INTO imagelog (before, after)
        SELECT CASE WHEN before.id IS NOT NULL THEN image_of(before) END, CASE WHEN after.id IS NOT NULL THEN image_of(after) END;
        INSERT INTO oplog (op, id, k, v, live)
        SELECT CASE WHEN kind = 'insert if new' THEN 'insert' WHEN kind IN ('flip', 'retire') THEN 'live'
                    WHEN kind IN ('hits', 'status') THEN 'data' ELSE kind END, row.*
        FROM (SELECT coalesce(after.id, before.id), coalesce(after.k, before.k), coalesce(after.v, before.v), coalesce(after.live, before.live)) AS row;
    END IF;
END $$;

-- Every row in the archives, as of the calling statement's snapshot, and what a run has made of the rows that stayed.
CREATE FUNCTION images() RETURNS TABLE (
    run bigint, batch bigint, kind text, survivor bigint, moment timestamptz, restored_at timestamptz, problem text, before image, after image
) STABLE LANGUAGE plpgsql ROWS 20000 AS $$
DECLARE
    run_id bigint;
BEGIN
    FOR run_id IN
        SELECT substring(relname FROM 'archive_(\d+)$')::bigint FROM pg_class
        WHERE relnamespace = to_regnamespace('dupe_audit') AND relkind = 'r' AND relname ~ '^archive_\d+$'
    LOOP
        RETURN QUERY EXECUTE format(
            'SELECT %1$s::bigint, a.dupe_audit_batch, a.dupe_audit_kind, a.dupe_audit_survivor_1, b.moment, a.dupe_audit_restored_at,
                    a.dupe_audit_problem, ROW(a.id, a.k, a.v, a.live, a.hits, a.seen, a.status)::image,
                    CASE WHEN f.id IS NOT NULL THEN ROW(f.id, f.k, f.v, f.live, f.hits, f.seen, f.status)::image END
             FROM dupe_audit.archive_%1$s a
             -- Where values are merged, a removed row has the number that its survivor has, too.
             LEFT JOIN dupe_audit.after_%1$s f
                 ON a.dupe_audit_kind <> ''removed'' AND (f.dupe_audit_batch, f.dupe_audit_n) = (a.dupe_audit_batch, a.dupe_audit_n)
             LEFT JOIN (SELECT number, coalesce(n.moment, pg_xact_commit_timestamp(d.xmin)) AS moment
                        FROM dupe_audit.batch d LEFT JOIN noted_batch n USING (run_id, number)
                        WHERE run_id = %1$s) b ON b.number = a.dupe_audit_batch', run_id);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION archived() RETURNS TABLE (
    run bigint, kind text, id bigint, k text, v text, live boolean, survivor bigint, moment timestamptz, restored_at timestamptz
) STABLE LANGUAGE sql ROWS 20000 AS $$
    SELECT run, kind, (before).id, (before).k, (before).v, (before).live, survivor, moment, restored_at FROM images()
$$;

-- What a run has made of a row is a part of its history. Restores are not: nothing is archived after them.
CREATE OR REPLACE VIEW history AS
SELECT id, op, k, live, at, lead(at, 1, 'infinity') OVER (PARTITION BY id ORDER BY at, seq) AS until
FROM (
    SELECT seq, id, op, k, live, coalesce(noted_moment, pg_xact_commit_timestamp(xmin)) AS at FROM oplog
    UNION ALL
    SELECT NULL, (after).id, 'data', (after).k, (after).live, moment FROM images() WHERE kind <> 'removed'
) AS logged;

-- The sums of the rows that were changed and changed back, by run, as of the calling statement's snapshot.
CREATE FUNCTION changed_by_runs() RETURNS TABLE (
    id bigint, amended bigint, merged bigint, reverted bigint, batches_amended bigint, batches_merged bigint, batches_reverted bigint
) STABLE LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('dupe_audit.batch') IS NOT NULL THEN
        RETURN QUERY EXECUTE
            'SELECT r.id, r.amended, r.merged, r.reverted, coalesce(sum(b.amended), 0)::bigint, coalesce(sum(b.merged), 0)::bigint,
                    coalesce(sum(b.reverted), 0)::bigint
             FROM dupe_audit.run r LEFT JOIN dupe_audit.batch b ON b.run_id = r.id GROUP BY r.id';
    END IF;
END $$;
