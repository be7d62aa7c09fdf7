"""Whatever the application and the operator do, in whatever order, the promises hold after each step."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import run_state_machine_as_test

import dupe_audit.cleanup.passes
import dupe_audit.cleanup.staging
from torture.bench import Bench
from torture.machine import Cleaning, Machine

pytestmark = pytest.mark.torture

THOROUGH = bool(os.environ.get("DUPE_AUDIT_TEST_THOROUGH"))
PROFILE = settings(
    max_examples=1000 if THOROUGH else 20,
    stateful_step_count=40 if THOROUGH else 20,
    derandomize=not THOROUGH,
    print_blob=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


#: a precaution of a statement, and what stands in its place where somebody forgot it
NAIVE = {
    "nobody locks the rows": {"lock_rows": {"FOR UPDATE OF t SKIP LOCKED": ""}},
    "nobody looks at the key again": {"move_rows": {"{same_key}": "true", "{t_still_key}": "true"}},
}


@pytest.fixture
def bench(database_url):
    """The database under the machine."""
    made = Bench(database_url)
    yield made
    made.close()


def test_any_sequence_keeps_the_promises(bench, monkeypatch):
    """No order of writes, steps, crashes, schema changes and ways back loses a row, a key's last row, or the truth."""
    monkeypatch.setattr(Machine, "bench", bench, raising=False)
    run_state_machine_as_test(Machine, settings=PROFILE)


@pytest.fixture
def careless(bench, monkeypatch):
    """Let the batches leave out a precaution."""

    def forget(naive: dict[str, dict[str, str]]) -> None:
        template = dupe_audit.cleanup.staging.template

        def without(name: str) -> str:
            text = template(name)
            for precaution, instead in naive.get(name, {}).items():
                assert precaution in text
                text = text.replace(precaution, instead)
            return text

        monkeypatch.setattr(dupe_audit.cleanup.staging, "template", without)
        # The place of a row gives away that it was written since; later passes do without, and so does this one.
        monkeypatch.setattr(dupe_audit.cleanup.passes, "WHERE_STAGED", dupe_audit.cleanup.passes.ANYWHERE)

    monkeypatch.setattr(Machine, "bench", bench, raising=False)
    return forget


def deleted_survivor(machine: Machine) -> None:
    """Clean while a transaction is open that has deleted the survivor."""
    machine.delete("open", 1)
    machine.batch()


def changed_extra(machine: Machine) -> None:
    """Give the second of two extras another key after the first was archived."""
    machine.batch()
    machine.disturb("autocommit", 1, (2, 1))


@pytest.mark.parametrize(("naive", "script"), [*zip(NAIVE.values(), (deleted_survivor, changed_extra), strict=True)])
def test_machine_objects_to_a_naive_batch(careless, naive, script):
    """What goes well with our batch does not with one that leaves out a precaution, and the machine says so."""
    for forgotten in ({}, naive):
        careless(forgotten)
        machine = Machine()
        machine.begin(
            primary_key=True,
            nulls_not_distinct=False,
            divergent="archive",
            keep="first",
            batch_size=1,
            rows=[((1, 1), 0)] * 3,
        )
        try:
            if forgotten:
                with pytest.raises(AssertionError, match="no survivor holds its key"):
                    script(machine)
            else:
                script(machine)
        finally:
            machine.teardown()


def test_random_sequences_find_a_naive_batch(careless):
    """Nobody has to tell the machine where to look: it finds by itself a batch that locks no rows."""
    careless(NAIVE["nobody locks the rows"])
    # Where a replay went another way, because a lock did, the objection comes inside a group.
    with pytest.raises((AssertionError, FlakyFailure)) as objection:
        run_state_machine_as_test(Cleaning, settings=settings(PROFILE, max_examples=200))
    said = [objection.value, *getattr(objection.value, "exceptions", ())]
    assert any("no survivor holds its key" in str(error) for error in said)
