"""Batches without a precaution lose the last row of a key on a cluster, and the tests' own invariants notice it."""

import time
from types import SimpleNamespace

import pytest

from citus.traffic import State, objections
from dupe_audit import statements
from dupe_audit.cleanup import cleanup
from dupe_audit.model import CleanupRule, UniqueKey
from torture.careless import replaced

KEY = UniqueKey(schema="application", table="events", columns=("tenant", "name", "at"), name="uq_events")
RULE = CleanupRule(divergent="archive", batch_size=20)
#: what judges locked rows again with a new snapshot, and what is left of it without that
WITHOUT_JUDGEMENT = {
    "distributed": {"move_rows": replaced(("    WHERE {same_key}\n", "    WHERE true\n"), (" AND {t_still_key}", ""))},
    "reference": {
        "citus_judge_extras": replaced(("  AND {same_key}\n", "")),
        "citus_move_rows": replaced((" AND {t_still_key}", "")),
    },
}
ARCHIVED = "SELECT id, name, dupe_audit_survivor_2, extract(epoch FROM dupe_audit_archived_at)::float8 FROM {}"


@pytest.fixture
def careless(monkeypatch):
    """Replace the texts of statements in this process, until the test ends."""
    originals = statements.files(statements.__name__)

    def replace(changes):
        texts = {
            f"{name}.sql": change(originals.joinpath(f"{name}.sql").read_text("utf-8")) for name, change in changes
        }

        def joinpath(name):
            return SimpleNamespace(read_text=lambda _: texts[name]) if name in texts else originals.joinpath(name)

        monkeypatch.setattr(statements, "files", lambda _: SimpleNamespace(joinpath=joinpath))
        statements.template.cache_clear()

    yield replace
    monkeypatch.undo()
    statements.template.cache_clear()


@pytest.fixture
def interrupted(sql, conn, events):
    """Clean a table; after its first batch every survivor gets another key. Return what the invariants object to."""

    def clean(kind):
        events(kind)
        history = {row: [State(name, 0.0)] for row, name in sql("SELECT id, name FROM application.events")}
        batches = cleanup(conn, KEY, RULE)
        next(batches)
        began = time.time()
        sql("UPDATE application.events SET name = 'moved ' || name WHERE id <= 400")
        for states in (history[row] for row in range(1, 401)):
            states[-1].ends = time.time()
            states.append(State(f"moved {states[0].name}", began))
        list(batches)
        ((archive,),) = sql("SELECT format('dupe_audit.archive_%s', id) FROM dupe_audit.run")
        return objections(history, sql("SELECT id, name FROM application.events"), sql(ARCHIVED.format(archive)))

    return clean


def test_mutants_replace_what_the_statements_contain(careless):
    """A statement that is rewritten cannot leave its mutants without effect; this needs no cluster."""
    for changes in WITHOUT_JUDGEMENT.values():
        careless(changes.items())


@pytest.mark.parametrize("kind", WITHOUT_JUDGEMENT)
def test_batch_that_does_not_judge_again_is_caught(careless, interrupted, kind):
    """A batch that trusts the ranking archives rows whose survivor has left the key, and the invariants object."""
    careless(WITHOUT_JUDGEMENT[kind].items())
    violations = interrupted(kind)
    assert len(violations) > 100
    assert all("but its survivor" in violation for violation in violations)


@pytest.mark.parametrize("kind", WITHOUT_JUDGEMENT)
def test_interrupted_batch_is_not_objected_to(interrupted, kind):
    """The real batch, under the same interruption, spares those rows, and the invariants hold."""
    assert [] == interrupted(kind)
