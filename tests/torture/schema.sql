-- The world that is tortured: the logs of everything that the application did to the table and its children, which
-- table.sql or tree.sql has created, and the application's only function.

-- The value that no two rows may share, NULL if the row may share everything. partial.sql replaces it; here, every row is
-- live and no letter changes its case.
CREATE FUNCTION key_of(k text, live boolean) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT k';

-- Written after the change, in its transaction, so the order of seq is the order of a row's changes.
-- The moment of a change is the commit of its transaction; a dump loses that, so it is noted before one is made.
CREATE TABLE oplog (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    op text NOT NULL CHECK (op IN ('insert', 'key', 'case', 'live', 'data', 'delete')),
    id bigint NOT NULL,
    k text NOT NULL,
    v text NOT NULL,
    live boolean NOT NULL DEFAULT true,
    noted_moment timestamptz
);
CREATE INDEX oplog_id ON oplog (id, seq);

CREATE INDEX child_parent ON child (parent);

CREATE TABLE childlog (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    op text NOT NULL CHECK (op IN ('insert', 'move', 'note', 'delete')),
    id bigint NOT NULL,
    parent bigint,
    came_from bigint,
    note text,
    stray boolean NOT NULL DEFAULT false
);
CREATE INDEX childlog_id ON childlog (id, seq);

-- The application deletes children by deleting their parents. A child that anything else deletes is missing from the log.
-- A session without referential integrity fires no trigger: it logs the children that it deletes itself.
CREATE FUNCTION log_deleted_child() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO childlog (op, id) VALUES ('delete', old.id);
    RETURN NULL;
END $$;
CREATE TRIGGER deleted AFTER DELETE ON child FOR EACH ROW
WHEN (current_setting('application_name') = 'torture application') EXECUTE FUNCTION log_deleted_child();

-- The state of the harness: on the way up or down, and whether a program that promises the constraint has ended.
CREATE TABLE course (direction text NOT NULL CHECK (direction IN ('up', 'down')), promised boolean NOT NULL);
INSERT INTO course VALUES ('up', false);

-- One change of a row: a new one with this key, or the chosen one, if there is one. outcomes.sql replaces it.
CREATE FUNCTION change_row(kind text, chosen bigint, key text, token text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF kind = 'insert' THEN
        WITH done AS (INSERT INTO tt (k, v) VALUES (key, token) RETURNING *)
        INSERT INTO oplog (op, id, k, v, live) SELECT 'insert', id, k, v, live FROM done;
    ELSIF kind = 'insert if new' THEN
        -- Two sessions can both look before either inserts; once the constraint exists, it decides.
        WITH done AS (
            INSERT INTO tt (k, v) SELECT key, token WHERE NOT EXISTS (SELECT FROM tt WHERE lower(k) = lower(key) AND live)
            ON CONFLICT DO NOTHING RETURNING *)
        INSERT INTO oplog (op, id, k, v, live) SELECT 'insert', id, k, v, live FROM done;
    ELSIF kind = 'key' THEN
        WITH done AS (UPDATE tt SET k = key WHERE id = chosen AND NOT EXISTS (SELECT FROM parent p WHERE p.id = chosen) RETURNING *)
        INSERT INTO oplog (op, id, k, v, live) SELECT 'key', id, k, v, live FROM done;
    ELSIF kind = 'case' THEN
        -- The word before the number, as it is spelled in key.
        WITH done AS (UPDATE tt SET k = split_part(key, ' ', 1) || ' ' || split_part(k, ' ', 2) WHERE id = chosen RETURNING *)
        INSERT INTO oplog (op, id, k, v, live) SELECT 'case', id, k, v, live FROM done;
    ELSIF kind IN ('flip', 'retire') THEN
        WITH done AS (UPDATE tt SET live = kind = 'flip' AND NOT live WHERE id = chosen RETURNING *)
        INSERT INTO oplog (op, id, k, v, live) SELECT 'live', id, k, v, live FROM done;
    ELSIF kind = 'data' THEN
        WITH done AS (UPDATE tt SET v = token WHERE id = chosen RETURNING *)
        INSERT INTO oplog (op, id, k, v, live) SELECT 'data', id, k, v, live FROM done;
    ELSIF kind = 'delete' THEN
        WITH done AS (DELETE FROM tt WHERE id = chosen RETURNING *)
        INSERT INTO oplog (op, id, k, v, live) SELECT 'delete', id, k, v, live FROM done;
    ELSE
        RAISE 'no such kind: %', kind;
    END IF;
END $$;

-- One change by the application, on a row of the first key that is not below near, live or not; there may be none.
CREATE FUNCTION app_op(kind text, near text, key text, place float8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    token CONSTANT text := md5(clock_timestamp()::text || place::text);
    chosen CONSTANT bigint := CASE WHEN kind NOT IN ('insert', 'insert if new', 'stray children', 'note child') THEN
        (SELECT id FROM tt
         WHERE lower(k) = (SELECT lower(k) FROM tt WHERE lower(k) >= lower(near) ORDER BY lower(k) LIMIT 1)
         ORDER BY md5(id::text || place::text) LIMIT 1) END;
    chosen_child CONSTANT bigint := CASE WHEN kind IN ('move child', 'note child') THEN
        (SELECT id FROM child WHERE id >= place * (SELECT max(id) FROM child) ORDER BY id LIMIT 1) END;
BEGIN
    IF kind = 'delete alone' THEN
        -- Without referential integrity nothing cascades; a child that arrives meanwhile stays, without a parent.
        WITH done AS (DELETE FROM child WHERE parent = chosen RETURNING *)
        INSERT INTO childlog (op, id) SELECT 'delete', id FROM done;
        PERFORM change_row('delete', chosen, key, token);
    ELSIF kind = 'stray children' THEN
        -- One for each row of a key: most of them are extras. Without referential integrity no parent is locked.
        WITH done AS (
            SELECT * FROM add_children(ARRAY(
                SELECT id FROM tt
                WHERE lower(k) = (SELECT lower(k) FROM tt WHERE lower(k) >= lower(near) ORDER BY lower(k) LIMIT 1) LIMIT 8), token))
        INSERT INTO childlog (op, id, parent, note, stray) SELECT 'insert', id, parent, note, true FROM done;
    ELSIF kind = 'child' THEN
        WITH done AS (SELECT * FROM add_children(ARRAY[chosen], token))
        INSERT INTO childlog (op, id, parent, note) SELECT 'insert', id, parent, note FROM done;
    ELSIF kind = 'move child' THEN
        -- The parent first, as a delete does it; otherwise the application would deadlock with itself.
        PERFORM FROM tt WHERE id = chosen FOR KEY SHARE;
        -- Never back to a former parent: a child that returns looks like one that never moved.
        WITH moving AS (
            SELECT id, parent FROM child c WHERE id = chosen_child AND EXISTS (SELECT FROM tt WHERE id = chosen) AND parent <> chosen
            AND NOT EXISTS (SELECT FROM childlog l WHERE l.id = c.id AND chosen IN (l.parent, l.came_from))
            FOR UPDATE
        ), done AS (SELECT c.id, c.parent, m.parent AS came_from FROM moving m CROSS JOIN LATERAL move_child(m.id, chosen) AS c)
        INSERT INTO childlog (op, id, parent, came_from) SELECT 'move', id, parent, came_from FROM done;
    ELSIF kind = 'note child' THEN
        WITH done AS (UPDATE child SET note = token WHERE id = chosen_child RETURNING *)
        INSERT INTO childlog (op, id, note) SELECT 'note', id, note FROM done;
    ELSE
        PERFORM change_row(kind, chosen, key, token);
    END IF;
END $$;

CREATE TABLE noted_batch (run_id bigint, number bigint, moment timestamptz, PRIMARY KEY (run_id, number));

-- Every archived row of every run, as of the calling statement's snapshot (the function is STABLE).
-- Its moment is the commit of its batch. The archive's own clock would be too early: the last copy of a key can get
-- another key between a row's move and the commit of that move. And the archive row's xmin changes when it is restored.
CREATE FUNCTION archived() RETURNS TABLE (
    run bigint, kind text, id bigint, k text, v text, live boolean, survivor bigint, moment timestamptz, restored_at timestamptz
) STABLE LANGUAGE plpgsql ROWS 20000 AS $$
DECLARE
    run_id bigint;
BEGIN
    FOR run_id IN
        SELECT substring(relname FROM 'archive_(\d+)$')::bigint FROM pg_class
        WHERE relnamespace = to_regnamespace('dupe_audit') AND relkind = 'r' AND relname ~ '^archive_\d+$'
    LOOP
        RETURN QUERY EXECUTE format(
            'SELECT %1$s::bigint, ''removed'', a.id, a.k, a.v, a.live, a.dupe_audit_survivor_1, b.moment, a.dupe_audit_restored_at
             FROM dupe_audit.archive_%1$s a
             LEFT JOIN (SELECT number, coalesce(n.moment, pg_xact_commit_timestamp(d.xmin)) AS moment
                        FROM dupe_audit.batch d LEFT JOIN noted_batch n USING (run_id, number)
                        WHERE run_id = %1$s) b ON b.number = a.dupe_audit_batch', run_id);
    END LOOP;
END $$;

-- What each row was, from when until when.
CREATE VIEW history AS
SELECT id, op, k, live, at, lead(at, 1, 'infinity') OVER (PARTITION BY id ORDER BY seq) AS until
FROM (SELECT *, coalesce(noted_moment, pg_xact_commit_timestamp(xmin)) AS at FROM oplog) AS logged;

-- The moments of all changes and batches so far, before a dump loses them.
CREATE FUNCTION note_moments() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE oplog SET noted_moment = pg_xact_commit_timestamp(xmin) WHERE noted_moment IS NULL;
    IF to_regclass('dupe_audit.batch') IS NOT NULL THEN
        INSERT INTO noted_batch SELECT run_id, number, pg_xact_commit_timestamp(xmin) FROM dupe_audit.batch
        ON CONFLICT DO NOTHING;
    END IF;
END $$;

-- Every child that followed a survivor and has not returned, as of the calling statement's snapshot.
-- In a tree, where a child also has the key of its parent, with that.
CREATE FUNCTION followers() RETURNS TABLE (id bigint, came_from bigint, went_to bigint, key text) STABLE LANGUAGE plpgsql AS $$
DECLARE
    record text;
BEGIN
    FOR record IN
        SELECT relname FROM pg_class
        WHERE relnamespace = to_regnamespace('dupe_audit') AND relkind = 'r' AND relname ~ '^children_\d+_\d+$'
    LOOP
        RETURN QUERY EXECUTE format('SELECT i1, o1, s1, %s FROM dupe_audit.%I WHERE dupe_audit_returned_at IS NULL',
            CASE WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = format('dupe_audit.%I', record)::regclass AND attname = 'o2')
                 THEN 'o2' ELSE 'NULL::text' END, record);
    END LOOP;
END $$;

-- Every run with its sums, as of the calling statement's snapshot. All are about tt, however the ledger names it.
CREATE FUNCTION runs() RETURNS TABLE (
    id bigint, state text, building boolean, archived bigint, restored bigint,
    batches_archived bigint, batches_restored bigint
) STABLE LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('dupe_audit.batch') IS NOT NULL THEN
        RETURN QUERY EXECUTE
            'SELECT r.id, r.state, r.building, r.archived, r.restored,
                    coalesce(sum(b.archived), 0)::bigint, coalesce(sum(b.restored), 0)::bigint
             FROM dupe_audit.run r LEFT JOIN dupe_audit.batch b ON b.run_id = r.id GROUP BY r.id';
    END IF;
END $$;

-- The stamped Alembic version; NULL before the first.
CREATE FUNCTION stamped() RETURNS text STABLE LANGUAGE plpgsql AS $$
DECLARE
    version text;
BEGIN
    IF to_regclass('alembic_version') IS NOT NULL THEN
        EXECUTE 'SELECT version_num FROM alembic_version' INTO version;
    END IF;
    RETURN version;
END $$;

-- The index of the key, finished or not, and whether it is what the key has to have.
CREATE VIEW unique_index AS
SELECT i.indexrelid AS oid, i.indisvalid AS valid, i.indisready AS ready, c.oid IS NOT NULL AS fits
FROM pg_index i
JOIN pg_class ic ON ic.oid = i.indexrelid
LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid AND c.contype = 'u'
WHERE i.indrelid = 'tt'::regclass AND ic.relname = 'tt_unique' AND i.indisunique;

-- The index on the inner levels and leaves, where the table is partitioned; a part can be missing.
CREATE VIEW part AS
SELECT l.relid AS place, i.indexrelid AS oid, i.indisvalid AS valid,
       EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid) AS attached
FROM pg_partition_tree('tt') l
LEFT JOIN pg_index i ON i.indrelid = l.relid AND i.indisunique AND NOT i.indisprimary
WHERE l.level > 0;

-- The inner levels and leaves whose index may be unfinished, as the ledger has them.
CREATE FUNCTION parts_in_work() RETURNS SETOF oid STABLE LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('dupe_audit.leaf') IS NOT NULL THEN
        RETURN QUERY EXECUTE 'SELECT relation::oid FROM dupe_audit.leaf WHERE building';
    END IF;
END $$;

-- Rows of leaves to which they do not belong.
CREATE FUNCTION misplaced() RETURNS TABLE (id bigint, place regclass) STABLE LANGUAGE plpgsql AS $$
DECLARE
    leaf regclass;
BEGIN
    FOR leaf IN SELECT relid FROM pg_partition_tree('tt') WHERE isleaf AND level > 0 LOOP
        RETURN QUERY EXECUTE format(
            'SELECT t.id, %L::regclass FROM ONLY %s t WHERE NOT (%s)', leaf, leaf, pg_get_partition_constraintdef(leaf));
    END LOOP;
END $$;
