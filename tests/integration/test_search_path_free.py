"""No statement depends on the search path: all of them are read, and executed where everything is shadowed."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress

import pglast
import pytest
from pglast import ast
from pglast.visitors import Visitor
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.connect import connect
from dupe_audit.constraint import drop, enforce
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.driver import execute
from dupe_audit.preflight import blockers, preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify
from dupe_audit.watch.look import look
from statements import Recorder, record

#: relations without a schema: those of the user's own key, temporary ones being created, aliases in FOR UPDATE OF, and
#: those that the enclosing statement of a part defines
UNQUALIFIED = re.compile(r"orders|payments|marked|put|dupe_audit_(locked|locked_child|write_\w+)|[a-z]")
#: they contain types as format_type() writes them: with the schema, where the path would find another type
TYPES_OF_COLUMNS = {
    *(
        "add_archive_column",
        "count_leaf",
        "stray_leaf",
        "write_batch",
        "write_part_row",
        "write_row",
        "write_unguarded_row",
        "write_values",
    ),
}
#: what the bounds of leaves name as pg_get_partition_constraintdef() writes them: with the schema where needed
OF_BOUNDS = {"function satisfies_hash_partition", "type date", "type oid"}
#: what the recording itself executes, what has no names, and types as format_type() writes them
OF_THE_TEST = re.compile(
    r"\s*(SELECT min|INSERT INTO public|CREATE (TABLE|EXTENSION)|ALTER TABLE|BEGIN|COMMIT|ROLLBACK)"
)
QUOTED = re.compile(r"\$statement\$(.*?)\$statement\$", re.DOTALL)


class Defined(Visitor):
    """Collects the names that WITH defines, which are not looked up."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_CommonTableExpr(self, _ancestors, node: ast.CommonTableExpr):  # noqa: N802 - pglast's name
        """Note the name."""
        self.names.add(node.ctename)


class Reader(Visitor):
    """Collects the functions, types and relations of a statement that have no schema."""

    def __init__(self, defined: set[str]) -> None:
        self.names: list[str] = []
        self.defined = defined

    def visit_FuncCall(self, _ancestors, node: ast.FuncCall):  # noqa: N802 - pglast's name
        """``unnest`` of several arrays is syntax, and has to be written without its schema."""
        if len(node.funcname) == 1 and not (node.funcname[0].sval == "unnest" and len(node.args) > 1):
            self.names.append(f"function {node.funcname[0].sval}")

    def visit_TypeName(self, _ancestors, node: ast.TypeName):  # noqa: N802 - pglast's name
        """Types such as ``bigint`` are syntax; others have a schema."""
        if node.names and len(node.names) == 1:
            self.names.append(f"type {node.names[0].sval}")

    def visit_RangeVar(self, _ancestors, node: ast.RangeVar):  # noqa: N802 - pglast's name
        """Relations have a schema."""
        if not node.schemaname and node.relname not in self.defined and not UNQUALIFIED.fullmatch(node.relname):
            self.names.append(f"relation {node.relname}")


def read(text: str) -> list[str]:
    """Return the unqualified names of plain SQL."""
    tree, defined = pglast.parse_sql(text), Defined()
    defined(tree)
    reader = Reader(defined.names)
    reader(tree)
    return reader.names


def unqualified(text: str) -> list[str]:
    """Return the names in a statement that the search path would find, those in a PL/pgSQL body among them."""
    names = read(text)
    if re.match(r"CREATE OR REPLACE (FUNCTION|PROCEDURE)|DO", text):
        # The parser resolves no type of a table.
        body = QUOTED.sub("''", text).replace("dupe_audit.run;", "record;")
        names += [
            name for query in queries(json.loads(pglast.parser.parse_plpgsql_json(body))) for name in query_names(query)
        ]
    return names


def queries(tree) -> Iterator[str]:
    """Yield the SQL of every expression and statement of a PL/pgSQL body."""
    if isinstance(tree, dict):
        if query := tree.get("PLpgSQL_expr", {}).get("query"):
            yield query
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from queries(branch)


def query_names(query: str) -> list[str]:
    """Return the unqualified names in a statement, an expression or an assignment of PL/pgSQL."""
    for text in (query, f"SELECT {query}", f"SELECT {query.partition(':=')[2]}"):
        with suppress(pglast.parser.ParseError):
            return read(text)
    raise AssertionError(f"neither a statement nor an expression: {query}")


@pytest.fixture
def recorder(database_url) -> Recorder:
    """Execute every step on the test's database."""
    return record(database_url)


def test_every_name_has_its_schema(recorder):
    """Every function, type and relation is named with its schema, in the files and in what Python composes."""
    problems = {s.name: unqualified(str(s.text)) for s in recorder.statements() if s.name not in TYPES_OF_COLUMNS}
    assert {} == {name: names for name, names in problems.items() if names}
    # Texts that differ in a number only, such as a run's, are read once.
    sent = {re.sub(r"\d+", "0", text): text for text in map(str, recorder.sent) if not OF_THE_TEST.match(text)}
    assert 100 < len(sent)
    problems_sent = [
        (set(unqualified(text)) - (OF_BOUNDS if "taken_on" in text else set()), text[:200]) for text in sent.values()
    ]
    assert [] == [(names, text) for names, text in problems_sent if names]


#: a copy of every operator, of most functions and of the types that statements name, in a schema before pg_catalog
SHADOWS = r"""
CREATE SCHEMA app;
DO $shadow$
DECLARE
    o record;
    args text;
BEGIN
    FOR o IN
        SELECT * FROM pg_operator
        WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b' AND oprresult = 'bool'::regtype
    LOOP
        BEGIN
            args := format('%s, %s', o.oprleft::regtype, o.oprright::regtype);
            EXECUTE format('CREATE OR REPLACE FUNCTION app.trap(%s) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS '
                '$$BEGIN RAISE ''trapped by an operator''; END$$', args);
            EXECUTE format('CREATE OPERATOR app.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = app.trap)',
                o.oprname, o.oprleft::regtype, o.oprright::regtype);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    FOR o IN
        SELECT p.*, pg_get_function_identity_arguments(p.oid) AS args, pg_get_function_result(p.oid) AS result
        FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.proname IN (
            'lower', 'unnest', 'md5', 'format', 'clock_timestamp', 'cardinality', 'to_regclass', 'current_setting',
            'set_config', 'has_table_privilege', 'pg_get_userbyid', 'pg_get_expr', 'format_type', 'quote_ident',
            'pg_column_size', 'record_eq', 'record_image_eq', 'pg_backend_pid', 'pg_try_advisory_lock', 'to_jsonb')
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION app.%I(%s) RETURNS %s LANGUAGE plpgsql AS '
                '$$BEGIN RAISE ''trapped by a function''; END$$', o.proname, o.args, o.result);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END
$shadow$;
CREATE FUNCTION app.step(bigint) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped by an aggregate'; END$$;
CREATE FUNCTION app.step(bigint, "any") RETURNS bigint LANGUAGE internal AS 'int8inc_any';
CREATE FUNCTION app.stop(bigint) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped by an aggregate'; END$$;
CREATE AGGREGATE app.count(*) (SFUNC = app.step, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE app.count("any") (SFUNC = app.step, STYPE = bigint, INITCOND = '0', FINALFUNC = app.stop);
CREATE FUNCTION app.pick(anyelement, anyelement) RETURNS anyelement LANGUAGE plpgsql AS
    $$BEGIN RAISE 'trapped by an aggregate'; END$$;
CREATE AGGREGATE app.max(anyelement) (SFUNC = app.pick, STYPE = anyelement);
CREATE AGGREGATE app.min(anyelement) (SFUNC = app.pick, STYPE = anyelement);
CREATE FUNCTION app.row_number() RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped by row_number'; END$$;
CREATE TABLE app.pg_class (oid text); CREATE TABLE app.pg_constraint (oid text);
CREATE TABLE app.pg_attribute (oid text);
CREATE DOMAIN app.text AS pg_catalog.text CHECK (false);
CREATE DOMAIN app.oid AS pg_catalog.oid CHECK (false);
CREATE DOMAIN app.int8 AS pg_catalog.int8 CHECK (false);
CREATE DOMAIN app.bool AS pg_catalog.bool CHECK (false);
CREATE DOMAIN app.tid AS pg_catalog.tid CHECK (false);
CREATE DOMAIN app.timestamptz AS pg_catalog.timestamptz CHECK (false);
CREATE DOMAIN app.jsonb AS pg_catalog.jsonb CHECK (false);
CREATE DOMAIN app.regclass AS pg_catalog.regclass CHECK (false)
"""


@pytest.mark.slow
def test_steps_use_nothing_of_a_schema_before_pg_catalog_h199(sql, conn, database_url):
    """With ``search_path = app, pg_catalog`` no step uses an operator, function, type or relation of schema app."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k text, v int CHECK (v > 0)); CREATE INDEX ON t (v)")
    sql("CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES t ON DELETE CASCADE, q text, UNIQUE (p, q))")
    sql("CREATE INDEX ON c (p); INSERT INTO t SELECT i, md5((i / 2)::text), 1 FROM generate_series(1, 20) AS i")
    sql("INSERT INTO c SELECT id, id FROM t")
    before = sql("SELECT t::text FROM t ORDER BY id"), sql("SELECT c::text FROM c ORDER BY id")
    sql(SHADOWS)
    sql(f"ALTER DATABASE {make_url(database_url).database} SET search_path = app, pg_catalog, public")
    execute(conn, "SET search_path = app, pg_catalog, public")
    for trapped in ("SELECT 1 = 1", "SELECT count(*) FROM public.t", "SELECT 'x'::text"):
        with pytest.raises(DBAPIError, match=r"trapped|violates check constraint"):
            execute(conn, trapped)
    key = UniqueKey(table="t", columns=("k",), name="uq")
    rule = CleanupRule(batch_size=4, order_by=("v",), references="repoint")
    preflight(conn, key, rule, show_keys=True)
    assert [] == blockers(conn, key, rule)
    assert 9 == sum(batch.archived for batch in cleanup(conn, key, rule))
    enforce(conn, key, BuildRule(comment="trapped"))
    assert verify(conn, key).ok
    drop(conn, key, BuildRule())
    assert [("app, pg_catalog, public",)] == execute(conn, "SHOW search_path").all()

    with connect(database_url) as command:
        assert [1] == [run.id for run, _ in ledger.find_runs(command, "true")]
        look(command)
        list(restore(command, 1))
        ledger.purge(command, 1)
    assert before == (sql("SELECT t::text FROM t ORDER BY id"), sql("SELECT c::text FROM c ORDER BY id"))
