"""Put the archived rows of a run back."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import click
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.cli.options import database_options, opened
from dupe_audit.cli.progress import progress
from dupe_audit.cli.question import confirm, yes_option
from dupe_audit.cli.schemas import chosen_runs, runs_options
from dupe_audit.constraint import drop
from dupe_audit.errors import DupeAuditError, Interrupted, Refused
from dupe_audit.findings import quantity
from dupe_audit.model import BATCH_SIZE, BuildRule, IndexState, Run, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.sqlstates import friendly
from dupe_audit.postgres.trees import members
from dupe_audit.restore import restore
from dupe_audit.statements import literal


@click.command("restore")
@click.argument("number", metavar="RUN", type=click.IntRange(min=1), required=False)
@runs_options
@click.option(
    "--batch-size",
    type=click.IntRange(1, 100_000),
    default=BATCH_SIZE,
    show_default=True,
    help="Rows per transaction, at most.",
)
@yes_option
@database_options
def restore_command(
    number: int | None,
    campaign: int | None,
    schemas: tuple[str, ...],
    batch_size: int,
    yes: bool,
    database_url: str | None,
    config: str | None,
) -> None:
    """Put a run's archived rows back, after dropping its constraint if it has one.

    A unique index that enforces the key without a constraint is dropped, too.
    This does what alembic downgrade does, where Alembic cannot: after an upgrade that stopped halfway.
    It undoes one run, not a revision: constraints that the revision dropped, renamed or replaced are not created
    again. It asks first. If it is interrupted, the same command continues.
    With --campaign or --schemas: all runs of a campaign or of schemas, the newest first.

    \b
    Example: dupe-audit restore 1 --yes
    Example: dupe-audit restore --campaign 1
    """
    with opened(database_url, config) as database:
        connection = database.connection
        runs = chosen_runs(connection, [number] if number else [], campaign, schemas)
        if number:
            _undo(connection, runs[0], batch_size, ask=not yes)
            return
        _undo_all(connection, [run for run in runs if run.state != "restored"], batch_size, ask=not yes)
        if campaign and not schemas:
            entry = ledger.get_campaign(connection, campaign)
            ledger.set_campaign(connection, campaign, query=entry.query, schemas=entry.schemas, state="undone")


def _undo_all(connection: Connection, runs: list[Run], batch_size: int, *, ask: bool) -> None:
    """Undo several runs, the newest first; one that fails does not keep the others from being undone.

    Raises:
        WrongUsage: there is neither a terminal nor an answer.
        Refused: the answer is no, or runs could not be undone; the message names each.
    """
    if ask:
        rows = quantity(sum(run.remaining for run in runs if run.purged_at is None), "row")
        what = f"undo {quantity(len(runs), 'run')}: drop what enforces their keys and put {rows} back"
        confirm(f"This will {what}. Continue?", otherwise="Nothing was changed: no run was restored.")
    failed: list[str] = []
    for run in reversed(runs):
        try:
            _undo(connection, run, batch_size, ask=False)
        except Interrupted:
            raise
        except (DupeAuditError, DBAPIError) as error:
            if connection.closed or connection.invalidated:
                raise
            reason = friendly(error, "restore") if isinstance(error, DBAPIError) else error
            failed.append(f"  run {run.id} of {run.schema_name}.{run.table_name}: {reason}")
    if failed:
        lead = f"{len(failed):,} of {quantity(len(runs), 'run')} could not be restored; the others are."
        raise Refused([], lead=lead, body="\n".join(failed))


def _undo(connection: Connection, run: Run, batch_size: int, *, ask: bool) -> None:
    """Drop what enforces the key of a run, and put its rows back."""
    number = run.id
    if run.state == "restored":
        click.echo(f"run {number}: already restored at {run.finished_at}; nothing to do (0 rows restored)")
        return
    if run.purged_at is None:
        relation = ledger.require_table(connection, run)
        ledger.require_way_back(connection, run, relation, lead="Nothing was changed.")
        name, form = _enforcing(connection, run, relation)
        key = replace(ledger.key_of_run(run, relation, name), form=form)
        state = catalog.index_state(connection, relation.relid, key) if name else None
        obstacle = _obstacle(run, key, state) or _parts(connection, run, relation)
        if obstacle and run.revision and not run.campaign:
            click.echo(_left_undone(connection, run, relation, name), err=True)
        if ask:
            _ask(run, relation, obstacle)
        if name:
            drop(connection, key, BuildRule())
        # An index that existed before the run stays.
        state = catalog.index_state(connection, relation.relid, key)
        if obstacle and not (_obstacle(run, key, state) or _parts(connection, run, relation)):
            click.echo(f"{obstacle[0].upper()}{obstacle[1:]} of {relation.name} was dropped.", err=True)
    _restore(connection, number, batch_size)
    if run.state == "enforced" and run.revision:
        click.echo(
            f"If `alembic current` still shows revision {run.revision} or a later one, correct it with alembic stamp "
            "(with --purge if the revision's file is gone).",
            err=True,
        )


def _enforcing(
    connection: Connection, run: Run, relation: catalog.Relation
) -> tuple[str | None, Literal["constraint", "index"]]:
    """Return name and form of what enforces the key of a run: it may have been renamed, perhaps with its table."""
    is_plain = ledger.key_of_run(run, relation, None).is_plain
    usual: Literal["constraint", "index"] = "constraint" if is_plain else "index"
    if run.constraint_name is None:
        return None, usual
    existing = ledger.enforcing(connection, run, relation, name=run.constraint_name)
    named = [each for each in existing if each.name == run.constraint_name]
    if not named and run.state == "enforced" and len(existing) == 1:
        named = existing
    for each in named:
        # An unfinished build of a constraint leaves an index too, which is dropped as the constraint's.
        return each.name, "constraint" if each.is_constraint or (is_plain and run.building) else "index"
    return run.constraint_name, usual


def _obstacle(run: Run, key: UniqueKey, state: IndexState | None) -> str | None:
    """Return what has to be dropped before rows can go back, or None."""
    if state is None:
        return None
    if key.form == "constraint" and state.constraint == key.name:
        return f"constraint {key.name}"
    if run.building and not state.valid:
        return f"unfinished index {key.name}"
    if key.form == "index" and state.constraint is None:
        return f"unique index {key.name}"
    return None


def _parts(connection: Connection, run: Run, relation: catalog.Relation) -> str | None:
    """Return what an unfinished upgrade has left on the partitions of a table, or None."""
    if not relation.is_tree:
        return None
    inside = {part.relation.relid for part in members(connection, relation.relid)}
    parts = sum(index.exists and index.relid in inside for index in ledger.leaf_indexes(connection, run.id))
    return f"what an unfinished upgrade has built on {quantity(parts, 'partition')}" if parts else None


def _left_undone(connection: Connection, run: Run, relation: catalog.Relation, name: str | None) -> str:
    """Return in words which part of a run's revision a restore does not undo, and what undoes it."""
    named = f"live.oid = {relation.relid}::pg_catalog.oid AND r.constraint_name = {literal(name)}"
    replaced = [
        f"{name} of run {earlier.id} ({', '.join(map(str, earlier.key_columns))})"
        for earlier, _ in ledger.find_runs(connection, f"{named} AND r.id < {run.id} AND r.state = 'dropped'")
        if (set(earlier.key_columns), earlier.where) != (set(run.key_columns), run.where)
    ]
    example = f", such as {replaced[-1]}," if replaced else ""
    return (
        f"This undoes run {run.id} alone. Constraints that revision {run.revision} dropped, renamed or replaced"
        f"{example} are not created again. If the revision is applied, alembic downgrade undoes all of it."
    )


def _ask(run: Run, relation: catalog.Relation, obstacle: str | None) -> None:
    """Ask whether to restore, after listing what that does.

    Raises:
        WrongUsage: there is neither a terminal nor an answer.
        Refused: the answer is no.
    """
    steps = [f"drop {obstacle} of {relation.name}"] if obstacle else []
    changed = run.images - run.reverted
    if run.remaining > changed or not changed:
        steps.append(f"put {quantity(run.remaining - changed, 'row')} back into {relation.name}")
    if changed:
        steps.append(f"change {quantity(changed, 'row')} of {relation.name} back")
    if children := run.children_moved - run.children_returned:
        steps.append(f"point {quantity(children, 'child', 'children')} back at their own rows")
    click.echo(f"Run {run.id} ({run.state}). This will:", err=True)
    for step in steps:
        click.echo(f"  - {step}", err=True)
    confirm("Continue?", otherwise=f"Nothing was changed: run {run.id} was not restored.")


def _restore(connection: Connection, number: int, batch_size: int) -> None:
    restored = reverted = returned = 0
    with progress("restoring") as display:
        for batch in restore(connection, number, batch_size=batch_size):
            restored += batch.restored
            reverted += batch.reverted
            returned += batch.repointed
            display.show("restoring", batch.done, batch.total, "rows")
    children = f", {quantity(returned, 'child', 'children')} pointed back" if returned else ""
    back = f", {quantity(reverted, 'row')} changed back" if reverted else ""
    click.echo(f"run {number}: {quantity(restored, 'row')} restored{back}{children}")
