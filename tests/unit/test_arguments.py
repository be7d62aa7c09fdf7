"""Arguments that a directive does not accept: the message names what to write instead."""

import alembic.op  # noqa: F401 - dupe_audit.ops registers its directives there
import pytest

import dupe_audit.ops  # noqa: F401
from dupe_audit.directives.registration import hint, signatures

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
