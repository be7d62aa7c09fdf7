"""Keys and rules that can never work are refused with a reason."""

import dataclasses

import pytest

from dupe_audit.errors import WrongUsage
from dupe_audit.findings.entry import Finding
from dupe_audit.model import BuildRule, Change, CleanupRule, Expression, UniqueKey, VerifyReport, milliseconds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"table": ""}, "table name"),
        ({"table": "a\x00b"}, "table name"),
        ({"table": None}, "table name"),
        ({"table": "t\ud800"}, "table name"),
        ({"nulls_not_distinct": "no"}, "nulls_not_distinct must be True or False"),
        ({"deferrable": 1}, "deferrable must be True or False"),
        ({"table": "x" * 64}, "63 bytes"),
        ({"table": "é" * 32}, "63 bytes"),
        ({"schema": ""}, "schema name"),
        ({"name": ""}, "constraint name"),
        ({"columns": ()}, "at least one column"),
        ({"columns": ("k", "k")}, "twice"),
        ({"columns": ("",)}, "column name"),
        ({"include": ("",)}, "column name"),
        ({"columns": tuple("abcdefghijklmnopqrstuvwxyz"), "include": tuple("ABCDEFG")}, "32 columns"),
        ({"initially": "LATER"}, "initially"),
        ({"initially": "DEFERRED"}, "deferrable=True"),
    ],
)
def test_wrong_keys_are_refused(arguments, message):
    """A key that PostgreSQL could not store, or not as it is written, is a usage error."""
    with pytest.raises(WrongUsage, match=message):
        UniqueKey(**({"table": "t", "columns": ("k",)} | arguments))


def test_longest_name_is_accepted():
    """A name of 63 bytes is accepted, whatever its characters are."""
    assert UniqueKey(table="é" * 31, columns=("x" * 63,)).table == "é" * 31


def test_key_as_text():
    """A key is printed with its table, its schema if it has one, and its columns."""
    assert str(UniqueKey(table="t", columns=("a", "b"))) == "t (a, b)"
    assert str(UniqueKey(schema="s", table="t", columns=("a",))) == "s.t (a)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": "newest"}, "first, last"),
        ({"divergent": "merge"}, "refuse, archive"),
        ({"references": "drop"}, "refuse, repoint"),
        ({"order_by": ("",)}, "column name"),
        ({"ignore": ("x" * 64,)}, "63 bytes"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 100_001}, "batch_size"),
        ({"pause": -1}, "pause"),
        ({"max_replica_lag": 0}, "max_replica_lag"),
        ({"batch_size": "5000"}, "batch_size must be a whole number, not '5000'"),
        ({"batch_size": True}, "batch_size must be a whole number"),
        ({"batch_size": 1.5}, "batch_size must be a whole number"),
        ({"pause": "1s"}, "pause must be a number"),
        ({"pause": float("nan")}, "pause must be a finite number"),
        ({"max_replica_lag": float("inf")}, "max_replica_lag must be a finite number"),
        ({"order_by": ("id DESC",)}, "'id DESC', a name of a column with a direction"),
        ({"order_by": ("id nulls first",)}, "a name of a column with a direction"),
        ({"order_by": (Expression("id DESC"),), "keep": "last"}, "would reverse an order that is written as SQL"),
    ],
)
def test_wrong_cleanup_rules_are_refused(arguments, message):
    """A rule that cannot be followed is a usage error that says what is allowed."""
    with pytest.raises(WrongUsage, match=message):
        CleanupRule(**arguments)


@pytest.mark.parametrize(
    ("exact", "divergent", "verb", "outcome"),
    [
        ("archive", "refuse", "archive", "archived"),
        ("amend", "amend", "amend", "amended"),
        ("archive", "amend", "archive or amend", "archived or amended"),
    ],
)
def test_messages_name_what_a_rule_does_with_extras(exact, divergent, verb, outcome):
    """A rule has the words with which messages say what happens, or has happened, to extras."""
    rule = CleanupRule(exact=exact, divergent=divergent, changes=(Change("k", "1"),) if "amend" in verb else ())
    assert (verb, outcome) == (rule.verb, rule.outcome)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"build_attempts": 0}, "build_attempts"),
        ({"lock_timeout": "0"}, "lock_timeout"),
        ({"lock_timeout": "2min"}, "lock_timeout"),
        ({"lock_timeout": "-1s"}, "lock_timeout"),
        ({"lock_timeout": "soon"}, "not a valid duration"),
        ({"give_up_after": "0s"}, "give_up_after"),
        ({"give_up_after": "5 parsecs"}, "give_up_after: '5 parsecs' is not a valid duration"),
        ({"lock_timeout": 500}, "lock_timeout must be text such as '500ms', not 500"),
        ({"give_up_after": None}, "give_up_after must be text"),
        ({"build_attempts": "5"}, "build_attempts must be a whole number"),
        ({"comment": 5}, "comment must be text"),
        ({"comment": "a\x00b"}, "NUL"),
    ],
)
def test_wrong_build_rules_are_refused_h76(arguments, message):
    """A build rule without a valid limit is refused, so that no build waits for ever."""
    with pytest.raises(WrongUsage, match=message):
        BuildRule(**arguments)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500ms", 500),
        ("2s", 2000),
        ("1.5s", 1500),
        ("10min", 600_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("7", 7),
        (" 2 s ", 2000),
        (".5s", 500),
        ("30d", 2_592_000_000),
        (30, 30),
    ],
)
def test_durations(text, number):
    """Durations are written as in PostgreSQL, and a bare number is milliseconds."""
    assert number == milliseconds(text)


@pytest.mark.parametrize(
    "text", ["", "s", "1 week", "1e999s", "nan", "infs", "1,5s", "1_000ms", "\u0665s", "1e3ms", "+5s", "5S"]
)
def test_invalid_durations(text):
    """A value that is not a valid duration, though Python may read its number, is refused with an example."""
    with pytest.raises(WrongUsage, match="500ms"):
        milliseconds(text)


@pytest.mark.parametrize("fact", [UniqueKey(table="t", columns=("k",)), CleanupRule(), BuildRule()])
def test_facts_are_immutable(fact):
    """A fact cannot be changed after it is created."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(fact, dataclasses.fields(fact)[0].name, "other")


@pytest.mark.parametrize(("severity", "ok"), [("error", False), ("warning", True), ("info", True)])
def test_report_is_ok_without_errors(severity, ok):
    """A report with warnings is ok, but a report with errors is not."""
    finding = Finding(id="x", severity=severity, message="m", help="h")
    key = UniqueKey(table="t", columns=("k",))
    assert ok == VerifyReport(key=key, index=None, extras=0, run=None, findings=(finding,)).ok
