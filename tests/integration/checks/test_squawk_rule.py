"""The real squawk on real offline SQL: its useful advice is reported, advice that is wrong here is not."""

import io
import stat
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from dupe_audit.checks.evidence import Evidence, Revision
from dupe_audit.checks.rules import squawk
from dupe_audit.errors import DupeAuditError

ROOT = Path(__file__).parents[3]
PLAIN = """BEGIN;

-- Running upgrade 1 -> 2

ALTER TABLE t ADD CONSTRAINT "uq é" UNIQUE (a);

UPDATE alembic_version SET version_num='2' WHERE alembic_version.version_num = '1';

COMMIT;
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def revision(id_="2"):
    return Revision(
        id=id_,
        parents=("1",),
        path=Path(f"{id_}.py"),
        file=f"versions/{id_}.py",
        upgrade_line=7,
        downgrade_line=None,
        empty_upgrade=False,
        empty_downgrade=True,
        refuses_downgrade=False,
        accepts=frozenset(),
    )


def linted(script, id_="2", **evidence):
    blank = {"heads": (), "empty_trips": (), "seeded_trips": (), "final_schema": None}
    results = squawk.check(Evidence(**blank, revisions=(revision(id_),), offline_sql={id_: script}, **evidence))
    return list(results)


def rule_of(result):
    return result.finding.message.rsplit("(")[-1].rstrip(").")


def rules(script, **evidence):
    return [rule_of(result) for result in linted(script, **evidence)]


def offline(range_):
    output = io.StringIO()
    config = Config(ROOT / "alembic.ini", output_buffer=output)
    command.upgrade(config, range_, sql=True)
    return output.getvalue()


def test_the_directives_are_clean():
    """Squawk reports nothing about the offline SQL of our own directives."""
    script = offline("014:015")
    assert "CREATE UNIQUE INDEX CONCURRENTLY" in script
    assert [] == linted(script, "015")


def test_the_first_revision_is_not_blamed_for_alembics_own_table():
    """Alembic's version table and indexes on a new table are not findings; a short integer is."""
    assert ["prefer-bigint-over-int"] == rules(offline("014"))


def test_a_plain_unique_constraint_is_reported_without_wrong_advice():
    """A plain unique constraint is reported for its lock, without advising NOT VALID, which UNIQUE does not have."""
    results = linted(PLAIN)
    assert ["require-lock-timeout", "require-statement-timeout", "disallowed-unique-constraint"] == rules(PLAIN)
    assert not any("NOT VALID" in result.finding.help for result in results)
    assert (
        'squawk objects to revision 2, ALTER TABLE t ADD CONSTRAINT "uq é" UNIQUE (a): Adding a `UNIQUE` constraint '
        "requires an `ACCESS EXCLUSIVE` lock which blocks reads and writes to the table while the index is built "
        "(disallowed-unique-constraint)." == results[2].finding.message
    )
    assert results[2].finding.help.startswith(
        "Create an index `CONCURRENTLY` and create the constraint using the index. "
        "If you disagree with the rule, exclude it"
    )
    assert ("versions/2.py", 7, "2") == (results[2].place.file, results[2].place.line, results[2].place.revision)


NOT_VALID = [
    ("ADD CONSTRAINT c UNIQUE (a)", False),
    ('ADD CONSTRAINT "check (é) "" x" UNIQUE (a)', False),
    ("ADD UNIQUE (a)", False),
    ("ADD PRIMARY KEY (a)", False),
    ("ADD CONSTRAINT c EXCLUDE USING gist (r WITH &&)", False),
    ("ADD CONSTRAINT c CHECK (a > 1)", True),
    ('ADD CONSTRAINT "unique" CHECK (a > 1)', True),
    ("ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u", True),
]


def test_the_advice_of_not_valid_is_kept_where_postgresql_has_it():
    """NOT VALID is advised for checks and foreign keys, and never where PostgreSQL does not have it."""
    table = "".join(f"/* é */ ALTER TABLE t {clause};\n" for clause, _advised in NOT_VALID)
    messages = [
        result.finding.message for result in linted(table) if "constraint-missing-not-valid" in result.finding.message
    ]
    assert [f"ALTER TABLE t {clause}" for clause, advised in NOT_VALID if advised] == [
        message.split("revision 2, ")[1].split(": ")[0] for message in messages
    ]


def test_statements_before_the_stamp_need_not_be_robust():
    """A statement that is committed before the version is stamped is not reported for it."""
    script = "CREATE INDEX CONCURRENTLY i ON t (a);\nBEGIN;\nUPDATE alembic_version SET x = 1;\nCOMMIT;\n"
    assert "prefer-robust-stmts" in {rule.rule for rule in squawk._lint(script.encode())}
    assert "prefer-robust-stmts" not in rules(script)


def test_an_index_on_a_new_table_hides_no_lock_on_an_old_one():
    """Squawk reports a missing timeout only for the first statement; the check reports the first that could wait."""
    script = "BEGIN;\nCREATE TABLE n (a bigint);\nCREATE INDEX i ON n (a);\nCREATE INDEX j ON n (a, a);\n"
    assert [] == rules(f"{script}COMMIT;")
    more = "CREATE TABLE m (a bigint REFERENCES n (a));\nALTER TABLE n ADD COLUMN b text;\nCOMMIT;"
    assert [] == rules(script + more)
    assert 2 == len(rules(f"{script}CREATE TABLE m (a bigint REFERENCES old (a));\nCOMMIT;"))
    results = linted(f"{script}DROP INDEX k;\nALTER TABLE old ALTER a SET NOT NULL;\nCOMMIT;")
    statements = {rule_of(result): result.finding.message for result in results}
    assert "DROP INDEX k" in statements["require-lock-timeout"]


def test_the_projects_own_settings_hold(tmp_path):
    """Squawk's configuration in the working directory and its comments in the SQL exclude findings."""
    ignored = PLAIN.replace("ALTER", "-- squawk-ignore disallowed-unique-constraint\nALTER")
    assert ["require-lock-timeout", "require-statement-timeout"] == rules(ignored)
    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["require-lock-timeout", "disallowed-unique-constraint"]')
    assert ["require-statement-timeout"] == rules(PLAIN)


def test_settings_that_squawk_cannot_read_are_a_clear_error(tmp_path):
    """If squawk fails, the error contains its own message."""
    (tmp_path / ".squawk.toml").write_text("excluded_rules")
    with pytest.raises(DupeAuditError, match=r"squawk failed: Configuration error: .*\.squawk\.toml"):
        linted(PLAIN)


def test_without_squawk_the_rule_says_what_to_install(tmp_path, monkeypatch):
    """If squawk is neither next to Python nor on PATH, the rule says how to install it."""
    assert squawk.missing() is None
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "squawk is not installed: pip install 'dupe-audit[lint]'" == squawk.missing()
    with pytest.raises(DupeAuditError, match="squawk is not installed"):
        linted(PLAIN)
    for text, error in (("#!/bin/sh\nexit 9\n", "it ended with exit code 9"), ("no program", "could not be started")):
        (tmp_path / "squawk").write_text(text)
        (tmp_path / "squawk").chmod(stat.S_IRWXU)
        with pytest.raises(DupeAuditError, match=error):
            linted(PLAIN)


def test_a_revision_without_sql_is_skipped():
    """A revision whose offline SQL is unknown or empty gives no finding."""
    assert [] == linted("")
    assert [] == list(
        squawk.check(
            Evidence(
                heads=(), revisions=(revision(),), empty_trips=(), seeded_trips=(), final_schema=None, offline_sql={}
            )
        )
    )
