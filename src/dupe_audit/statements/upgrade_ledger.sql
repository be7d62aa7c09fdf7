-- Purpose: upgrade a ledger of an earlier version; printed for its owner to execute, never executed automatically.
-- Lock: ACCESS EXCLUSIVE on the ledger's tables, until the transaction ends; none on the application's tables.
-- Again: yes.
-- A run gets its table only if the oid and the name agree; for other runs the commands say what to enter.
DO $upgrade$
BEGIN
    ALTER TABLE dupe_audit.run
        ADD COLUMN IF NOT EXISTS on_reference pg_catalog.text CHECK (on_reference IN ('refuse', 'repoint')),
        ADD COLUMN IF NOT EXISTS relation pg_catalog.regclass,
        ADD COLUMN IF NOT EXISTS ledger_oid pg_catalog.oid,
        ADD COLUMN IF NOT EXISTS key_numbers pg_catalog.int2[],
        ADD COLUMN IF NOT EXISTS erased bigint NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS archived_columns pg_catalog.text[],
        ADD COLUMN IF NOT EXISTS archived_numbers pg_catalog.int2[],
        ADD COLUMN IF NOT EXISTS archived_generated pg_catalog.text[],
        ADD COLUMN IF NOT EXISTS adopted_index pg_catalog.text,
        ADD COLUMN IF NOT EXISTS built boolean NOT NULL DEFAULT false,
        ADD COLUMN IF NOT EXISTS key_expressions pg_catalog.text[] NOT NULL DEFAULT '{}',
        ADD COLUMN IF NOT EXISTS predicate pg_catalog.text,
        ADD COLUMN IF NOT EXISTS order_expressions pg_catalog.text[] NOT NULL DEFAULT '{}',
        ADD COLUMN IF NOT EXISTS directions pg_catalog.text[] NOT NULL DEFAULT '{}',
        ADD COLUMN IF NOT EXISTS column_names pg_catalog.text[],
        ADD COLUMN IF NOT EXISTS column_numbers pg_catalog.int2[],
        ADD COLUMN IF NOT EXISTS index_elements pg_catalog.text[],
        ADD COLUMN IF NOT EXISTS index_predicate pg_catalog.text,
        ADD COLUMN IF NOT EXISTS exact pg_catalog.text CHECK (exact IN ('archive', 'amend')),
        ADD COLUMN IF NOT EXISTS changed_columns pg_catalog.text[] NOT NULL DEFAULT '{}',
        ADD COLUMN IF NOT EXISTS changed_values pg_catalog.text[] NOT NULL DEFAULT '{}',
        ADD COLUMN IF NOT EXISTS merged_columns pg_catalog.text[] NOT NULL DEFAULT '{}',
        ADD COLUMN IF NOT EXISTS merged_by pg_catalog.text[] NOT NULL DEFAULT '{}',
        ADD COLUMN IF NOT EXISTS merged_by_sql boolean[] NOT NULL DEFAULT '{}',
        ADD COLUMN IF NOT EXISTS amended bigint NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS merged bigint NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS reverted bigint NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS campaign bigint,
        DROP CONSTRAINT IF EXISTS run_divergent_check,
        ADD CONSTRAINT run_divergent_check CHECK (divergent IN ('refuse', 'archive', 'amend'));
    ALTER TABLE dupe_audit.batch
        ADD COLUMN IF NOT EXISTS amended bigint NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS merged bigint NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS reverted bigint NOT NULL DEFAULT 0;
    {create_child_table};
    REVOKE ALL ON TABLE dupe_audit.child FROM PUBLIC;
    {create_leaf_table};
    REVOKE ALL ON TABLE dupe_audit.leaf FROM PUBLIC;
    ALTER TABLE dupe_audit.child
        ADD COLUMN IF NOT EXISTS relation pg_catalog.regclass,
        ADD COLUMN IF NOT EXISTS identity_names pg_catalog.text[],
        ADD COLUMN IF NOT EXISTS column_names pg_catalog.text[];
    UPDATE dupe_audit.run r
    SET relation = r.relid::pg_catalog.regclass, ledger_oid = 'dupe_audit.run'::pg_catalog.regclass::pg_catalog.oid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE r.relation IS NULL AND c.oid = r.relid AND n.nspname = r.schema_name AND c.relname = r.table_name;
    UPDATE dupe_audit.child k
    SET relation = k.relid::pg_catalog.regclass,
        identity_names = ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.unnest(k.identity) WITH ORDINALITY AS u(attnum, ord)
                               JOIN pg_catalog.pg_attribute a ON a.attrelid = k.relid AND a.attnum = u.attnum ORDER BY u.ord),
        column_names = ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.unnest(k.columns) WITH ORDINALITY AS u(attnum, ord)
                             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.relid AND a.attnum = u.attnum ORDER BY u.ord)
    FROM dupe_audit.run r
    WHERE k.relation IS NULL AND r.id = k.run_id AND r.relation IS NOT NULL;
END
$upgrade$
