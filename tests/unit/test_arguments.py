"""Arguments that a directive does not accept: the message names what to write instead."""

from argparse import Namespace

import alembic.op  # noqa: F401 - dupe_audit.ops registers its directives there
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql

import dupe_audit.ops  # noqa: F401
from dupe_audit.directives.arguments import elements, escaped
from dupe_audit.directives.operations.rows import ArchiveDuplicatesOp
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.registration import hint, signatures
from dupe_audit.errors import WrongUsage
from dupe_audit.model import Expression

CREATE = "op.create_unique_constraint_online({0}=…) or op.create_unique_index_online({0}=…)"
CLEAN = "op.archive_duplicates({0}=…) or op.amend_duplicates({0}=…)"
ARCHIVE = "op.archive_duplicates({0}=…)"
CONSTRAINT = "op.create_unique_constraint_online({0}=…)"
INDEX_WHERE = " Only an index can have a predicate: use op.create_unique_index_online()."

#: whose argument it is, unless the directive has it itself
OWNERS = {
    **dict.fromkeys(["divergent", "references", "ignore", "merge"], ARCHIVE),
    **dict.fromkeys(["set_", "keep", "order_by", "batch_size", "pause", "max_replica_lag"], CLEAN),
    **dict.fromkeys(["include", "comment", "build_attempts", "lock_timeout", "give_up_after", "name"], CREATE),
    **dict.fromkeys(["deferrable", "initially"], CONSTRAINT),
    "nulls_not_distinct": f"{CREATE.replace(' or ', ', ')}, {CLEAN}",
}


@pytest.mark.parametrize("option", OWNERS)
def test_argument_of_a_sibling_names_that_sibling(option):
    """An argument that belongs to other directives names them, and never a similar argument of the one called."""
    called = {name: signature for name, signature in signatures().items() if option not in signature.parameters}
    assert called
    for name, signature in called.items():
        expected = f" {option} belongs to another directive: {OWNERS[option].format(option)}."
        assert hint(name, signature, (), {option: None}) == expected, name


@pytest.mark.parametrize(
    ("name", "option", "expected"),
    [
        ("amend_duplicates", "set", " Instead of set, write set_."),
        ("archive_duplicates", "bach_size", " Instead of bach_size, write batch_size."),
        ("archive_duplicates", "postgresql_where", " Instead of postgresql_where, write where."),
        (
            "archive_duplicates",
            "postgresql_include",
            f" postgresql_include belongs to another directive: {CREATE.format('include')}.",
        ),
        ("create_unique_index_online", "unique", " The key is always unique: leave unique out."),
        ("create_unique_constraint_online", "where", INDEX_WHERE),
        ("create_unique_constraint_online", "postgresql_where", INDEX_WHERE),
        ("drop_unique_index_online", "where", " A drop needs neither columns nor where."),
        ("drop_unique_index_online", "postgresql_where", " A drop needs neither columns nor where."),
        ("restore_duplicates", "postgresql_ops", ""),
    ],
)
def test_argument_that_no_directive_has(name, option, expected):
    """A misspelt argument, or one of Alembic's own operations, names what to write instead, if anything is known."""
    assert hint(name, signatures()[name], (), {option: None}) == expected


@pytest.mark.parametrize("word", ["localtimestamp", "session_user", "current_schema", "current_date", "true", "null"])
def test_words_of_sql_are_no_columns(word):
    """A word that SQL reserves for a value stays an expression, whose volatility is then judged."""
    assert (Expression(word),) == elements("columns", [sa.text(word)])


def test_an_order_by_the_name_of_a_column_as_text_can_be_reversed():
    """``keep='last'`` takes ``sa.text("id")``, which is a column, and refuses an order that is written as SQL."""
    assert ("k",) == elements("order_by", [sa.text("k")])
    with pytest.raises(WrongUsage, match="keep='last' would reverse an order that is written as SQL"):
        ArchiveDuplicatesOp.archive_duplicates(None, "t", ["k"], keep="last", order_by=[sa.text("id DESC")])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["accept=update-trigger", "accept=delete-trigger"], {"accept": ("update-trigger", "delete-trigger")}),
        (["accept=update-trigger,delete-trigger"], {"accept": ("update-trigger", "delete-trigger")}),
        (["partitioned=a", "partitioned=s.b"], {"partitioned": ("a", "s.b")}),
        (["pause=1", "pause=2"], {"pause": 2.0}),
    ],
)
def test_an_option_with_a_list_can_be_repeated(tmp_path, given, expected):
    """The lists of a repeated -x option are joined; of an option with a single value, the last one counts."""
    config = Config(cmd_opts=Namespace(x=[f"dupe_audit.{option}" for option in given]))
    environment = EnvironmentContext(config, ScriptDirectory(str(tmp_path)))
    context = MigrationContext.configure(dialect_name="postgresql", environment_context=environment)
    overrides = Overrides.of(Operations(context))
    assert expected == {name: getattr(overrides, name) for name in expected}


@pytest.mark.parametrize(
    "sql", ["a :b", ":a:b", ":a:", r"a\:b", r"\: a", "a::text || ':b'", "t[1:n]", "data -> 'x:y'", "100 % :é"]
)
def test_escaped_sql_is_read_as_it_was(sql):
    """SQL with colons and backslashes comes out of ``sa.text()`` unchanged, and without a bound parameter."""
    compiled = sa.text(escaped(sql)).compile(dialect=postgresql.dialect())
    assert (sql, {}) == (str(compiled).replace("%%", "%"), compiled.params)
