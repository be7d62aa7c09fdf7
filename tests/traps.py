"""A schema dupe_audit as a role without rights would prepare it, to have its function executed by whoever uses it."""

from dupe_audit.statements import template

#: counts its calls outside any transaction, and makes its owner a superuser, if its caller can
FUNCTIONS = """
CREATE SCHEMA trap;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE SEQUENCE trap.calls;
CREATE FUNCTION trap.spring(n int DEFAULT 0) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('trap.calls');
    EXECUTE format('ALTER ROLE %I SUPERUSER', '{role}');
    RETURN 1;
END $$;
CREATE FUNCTION trap.folded(n int) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    RETURN trap.spring();
END $$;
CREATE FUNCTION trap.on_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM trap.spring();
    RETURN new;
END $$;
"""
TABLES = ";".join(template(f"create_{name}_table") for name in ("run", "batch", "child", "leaf"))

#: a run of a table that the stranger does not own, whose constraint would be dropped
RUN = """
INSERT INTO dupe_audit.run (relid, relation, ledger_oid, schema_name, table_name, key_columns, nulls_not_distinct,
                            constraint_name, state, archived, software_version)
VALUES ('{table}'::regclass, '{table}', 'dupe_audit.run'::regclass, 'public', '{table}', ARRAY['{key}'], false,
        '{constraint}', 'enforced', 0, 'x')
"""
VIEW = """
ALTER TABLE dupe_audit.run RENAME TO hidden;
CREATE VIEW dupe_audit.run AS SELECT * FROM dupe_audit.hidden WHERE {condition};
GRANT SELECT ON dupe_audit.run TO PUBLIC
"""

#: what is prepared after schema, tables and run
TRAPS = {
    "view": VIEW.format(condition="trap.spring() = 1"),
    "constant in a view": VIEW.format(condition="trap.folded(1) = 1"),
    "trigger": "CREATE TRIGGER x BEFORE INSERT OR UPDATE ON dupe_audit.run FOR EACH ROW EXECUTE FUNCTION trap.on_row()",
    "rule": "CREATE RULE x AS ON UPDATE TO dupe_audit.run DO ALSO SELECT trap.spring()",
    "default": "ALTER TABLE dupe_audit.batch ALTER COLUMN spared SET DEFAULT trap.spring()",
    "check": "ALTER TABLE dupe_audit.batch ADD CHECK (trap.spring() = spared)",
    "index": "CREATE INDEX ON dupe_audit.batch (trap.folded(run_id::int))",
    "plain tables": "SELECT",
}


def trap(role: str, name: str, table: str = "t", key: str = "k", constraint: str = "uq") -> str:
    """Return what prepares a ledger as *role*; the caller may not be that role any more after it."""
    run = RUN.format(table=table, key=key, constraint=constraint)
    schema = "CREATE SCHEMA dupe_audit; GRANT ALL ON SCHEMA dupe_audit TO PUBLIC"
    statements = (f"SET ROLE {role}", FUNCTIONS.format(role=role), schema, TABLES, run, TRAPS[name], "RESET ROLE")
    return ";".join(statements)


#: what has to be false afterwards
SPRUNG = "SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = '{role}') OR (SELECT is_called FROM trap.calls)"
