"""What a script judges before its first change: whether the directives after the first one would be refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from alembic.operations import MigrateOperation, Operations

from dupe_audit import ledger
from dupe_audit.differences import describe_rule
from dupe_audit.directives.effects import NOTHING, Effect, effect
from dupe_audit.directives.judgement import rows_are_known
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.script.droppable import droppable_index_function, droppable_procedure
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.procedures import (
    state_function,
    undo_function,
)
from dupe_audit.directives.script.quoting import differing_columns, quoted
from dupe_audit.directives.verdict import NOT_ABOUT_THE_BUILD, NOT_ABOUT_THE_CLEANUP, Item
from dupe_audit.findings import CATALOGUE
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.planner import COUNTING, switched_off
from dupe_audit.statements import literal, statement, text_array

#: settings until the end of the transaction that Alembic has begun, in which everything here only reads
_SETTINGS = ("client_encoding = 'UTF8'", "lock_timeout = '5s'", "statement_timeout = 0", "row_security = off")

#: the statements that count the rows
_TEMPLATES = ("count", "ranked_pairs", "count_uninsertable", "count_references")


def judge_ahead(
    operations: Operations,
    items: Sequence[Item],
    options: Overrides,
    *,
    required: bool,
    revision: str | None = None,
    keeps_adopted: bool = True,
) -> None:
    """Write what stops the script, before it changes anything, if a later directive of the revision would be refused.

    A directive after a statement that can change a definition is judged when it is executed, and so is a constraint
    after another directive for its name.

    Args:
        items: of the revision, in order; empty if they are not known.
        required: whether the ledger must have a run for a drop or a restore.
        revision: the Alembic revision that is executed.
        keeps_adopted: whether a drop leaves an index that existed before our upgrades.
    """
    if sum(isinstance(item, MigrateOperation) for item in items) < 2:
        return
    script = Script(operations)
    # A psql that continues after errors would execute the first directive although a later one is refused.
    script.line("\\set ON_ERROR_STOP on")
    for setting in _SETTINGS:
        script.write(f"SET LOCAL {setting}")
    script.write(statement("offline_path"))
    script.trust_function()
    for number, item, between in _judgeable(items):
        ahead = _Ahead(script, items[:number], options, between, revision=revision, keeps_adopted=keeps_adopted)
        ahead.judge(item, required=required)
    script.write(statement("offline_path_back"))
    script.forget_parts()


def _judgeable(items: Sequence[Item]) -> Iterator[tuple[int, MigrateOperation, tuple[Effect, ...]]]:
    """Yield the directives that can be judged now, and what statements between the first and each of them can change.

    The first one judges itself, except a drop: what is wrong with it explains what is wrong with its restore.
    """
    names: set[str | None] = set()
    between: list[Effect] = []
    begun = False
    for number, item in enumerate(items):
        if not isinstance(item, MigrateOperation):
            change = effect(item.construct)
            if begun and change.definition:
                return
            if begun and change is not NOTHING:
                between.append(change)
            continue
        name = item.key.name  # type: ignore[attr-defined]
        named_before = isinstance(item, CreateUniqueConstraintOnlineOp) and name in names
        if (begun and not named_before) or isinstance(item, DropUniqueConstraintOnlineOp):
            yield number, item, tuple(between)
        begun = True
        names.add(name)


class _Ahead:
    """Judges a directive of a script before the first one acts.

    Args:
        earlier: directives and statements of the revision.
        between: what those statements can change.
    """

    def __init__(
        self,
        script: Script,
        earlier: Sequence[Item],
        options: Overrides,
        between: Sequence[Effect],
        *,
        revision: str | None,
        keeps_adopted: bool,
    ) -> None:
        self._script = script
        self._earlier = earlier
        self._options = options
        self._between = between
        self._revision = revision
        self._keeps_adopted = keeps_adopted

    def judge(self, item: MigrateOperation, *, required: bool) -> None:
        """Write what stops the script if the directive would be refused."""
        if isinstance(item, ArchiveDuplicatesOp):
            rule = self._options.cleanup_rule(item.rule)
            self._catalogs(item.key, rule, NOT_ABOUT_THE_CLEANUP)
            self._rows(item.key, rule)
        elif isinstance(item, CreateUniqueConstraintOnlineOp):
            self._catalogs(item.key, CleanupRule(), NOT_ABOUT_THE_BUILD)
            state_function(self._script, item.key)
            self._script.write("DO $judge$ BEGIN PERFORM * FROM pg_temp.dupe_audit_state(); END $judge$")
            self._rows(item.key, None)
        elif isinstance(item, DropUniqueConstraintOnlineOp):
            self._drop(item.key, required=required)
        elif isinstance(item, RestoreDuplicatesOp):
            choice = ledger.to_restore("v_relid", item.key, revision=self._revision)
            self._way_back(item.key, choice, required=required)

    def _drop(self, key: UniqueKey, *, required: bool) -> None:
        if key.form == "constraint":
            droppable_procedure(self._script, key, keeps_adopted=self._keeps_adopted)
            self._script.write("CALL pg_temp.dupe_audit_droppable(false)")
        self._way_back(key, ledger.of_name(key.name), required=required, any_run_suffices=True)
        if key.form == "index":
            droppable_index_function(self._script, key, keeps_adopted=self._keeps_adopted)
            self._script.write("DO $judge$ BEGIN PERFORM * FROM pg_temp.dupe_audit_droppable_index(false); END $judge$")

    def _catalogs(self, key: UniqueKey, rule: CleanupRule, irrelevant: Collection[str]) -> None:
        self._script.expressions_function()
        ordering_columns = filter(None, (part.name for part in rule.orderings))
        expressions = text_array(filter(None, key.expressions))
        blockers = statement(
            "blockers",
            relid="v_relid",
            key=text_array(filter(None, key.names)),
            expressions=expressions,
            expression_types="v_types",
            named=text_array((*ordering_columns, *rule.ignore, *key.include)),
            constraint_name=literal(key.name),
            nulls_not_distinct=literal(key.nulls_not_distinct),
            default_read_only="false",
        )
        self._script.write(
            statement(
                "offline_judge",
                relid=catalog.relid_sql(key),
                table_name=literal(key.table),
                expressions=expressions,
                predicate=literal(key.where),
                order_expressions=text_array(filter(None, (part.expression for part in rule.orderings))),
                blockers=blockers,
                # The first directive judges the ledger.
                errors=self._errors({*irrelevant, "untrusted-ledger"}),
            )
        )

    def _errors(self, irrelevant: Collection[str]) -> str:
        ignored = {*self._options.accept, *irrelevant}
        return text_array(id_ for id_, entry in CATALOGUE.items() if entry.severity == "error" and id_ not in ignored)

    def _rows(self, key: UniqueKey, rule: CleanupRule | None) -> None:
        """Write what counts the rows that would be refused, unless something before it can change them.

        Args:
            rule: of the cleanup; None if no directive archives the extras.
        """
        changed = any(change.concerns(key.schema, key.table) for change in self._between)
        if changed or not rows_are_known(key, self._earlier):
            return
        cleaned = [item.key for item in self._earlier if isinstance(item, ArchiveDuplicatesOp)]
        tables = ", ".join(f"({catalog.relid_sql(table)})" for table in cleaned)
        fragments = catalog.rule_fragment_holes(key, rule or CleanupRule())
        self._script.measure_function()
        self._script.write(
            statement(
                "offline_count",
                relid=catalog.relid_sql(key),
                expressions=text_array(filter(None, key.expressions)),
                predicate=literal(key.where),
                archived=literal(rule is not None),
                key_elements=literal(str(replace(key, schema=None)).removeprefix(f"{key.table} ")),
                rule_text=literal(describe_rule(rule or CleanupRule())),
                differing_columns=differing_columns(),
                on_reference=literal(rule.references if rule else "refuse"),
                references_known=literal(not any(change.tables is None or change.tables for change in self._between)),
                earlier=f"ARRAY[{tables}]::pg_catalog.oid[]",
                fragments=statement("fragments", relid="v_relid", **fragments),
                errors=self._errors(()),
                child_triggers=statement("child_triggers", relid="v_relid"),
                insertable=statement(
                    "insertable",
                    relid="v_relid",
                    key_names=text_array(filter(None, key.names)),
                    own_index="NULL::pg_catalog.text",
                ),
                references=statement("references", relid="v_relid"),
                collisions=statement("collisions", relid="v_relid", pairs="v_pairs"),
                counting=text_array(switched_off(COUNTING)),
                **{f"t_{name}": quoted(name) for name in _TEMPLATES},
            )
        )

    def _way_back(
        self, key: UniqueKey, choice: ledger.Choice, *, required: bool, any_run_suffices: bool = False
    ) -> None:
        undo_function(self._script, key, choice, required=required, any_run_suffices=any_run_suffices)
        self._script.write("DO $judge$ BEGIN PERFORM * FROM pg_temp.dupe_audit_undo(); END $judge$")
