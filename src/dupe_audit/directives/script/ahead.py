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
from dupe_audit.directives.recording import Item
from dupe_audit.directives.script.collecting import CollectingScript, before, is_for_schema
from dupe_audit.directives.script.droppable import droppable_index_function, droppable_procedure
from dupe_audit.directives.script.leaves import tree_blockers
from dupe_audit.directives.script.outcomes import changes_function
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.procedures import (
    judged_key,
    state_function,
    undo_function,
)
from dupe_audit.directives.script.quoting import counting_settings, differing_columns, with_templates
from dupe_audit.directives.script.undone import Undone
from dupe_audit.directives.verdict import NOT_ABOUT_THE_BUILD, NOT_ABOUT_THE_CLEANUP
from dupe_audit.findings import CATALOGUE
from dupe_audit.model import READ_LOCK_TIMEOUT, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.preflight import beside
from dupe_audit.statements import literal, statement, text_array

#: settings until the end of the transaction that Alembic has begun, in which everything here only reads
_SETTINGS = {"client_encoding": "UTF8", "lock_timeout": READ_LOCK_TIMEOUT, "row_security": "off"}

#: what messages say after the problem
_NOTE = "'; no directive has changed anything'"


def judge_ahead(operations: Operations, items: Sequence[Item], options: Overrides, undone: Undone) -> None:
    """Write what stops the script, before it changes anything, if a later directive of the revision would be refused.

    A directive after a statement that can change a definition is judged when it is executed, and so is a constraint
    after another directive for its name.

    Args:
        items: of the revision, in order; empty if they are not known.
        undone: the runs of drops and restores.
    """
    if sum(isinstance(item, MigrateOperation) for item in items) < 2:
        return
    schemas = {item.key.schema for item in items if is_for_schema(item)}  # type: ignore[union-attr]
    script = CollectingScript(operations)
    # A psql that continues after errors would execute the first directive although a later one is refused.
    script.line("\\set ON_ERROR_STOP on")
    for name, value in _SETTINGS.items():
        script.write(f"SET LOCAL {name} = {literal(value)}")
    script.write(statement("offline_path"))
    script.write(statement("offline_timeouts"))
    script.trust_function()
    for number, item, between in _judgeable(items):
        with script.judging_directive(item):
            _Ahead(script, before(items, number), options, between, undone).judge(item)
    if schemas:
        script.write(statement("offline_refused", schema_count=str(len(schemas))))
    script.write(statement("offline_path_back"))
    script.forget_parts()


def _judgeable(items: Sequence[Item]) -> Iterator[tuple[int, MigrateOperation, tuple[Effect, ...]]]:
    """Yield the directives that can be judged now, and what statements between the first and each of them can change.

    The first one judges itself, except a drop: what is wrong with it explains what is wrong with its restore. In many
    schemas it is judged too, so that all refusals are reported together.
    """
    names: set[tuple[str | None, str | None]] = set()
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
        name = item.key.schema, item.key.name  # type: ignore[attr-defined]
        named_before = isinstance(item, CreateUniqueConstraintOnlineOp) and name in names
        if ((begun or is_for_schema(item)) and not named_before) or isinstance(item, DropUniqueConstraintOnlineOp):
            yield number, item, tuple(between)
        begun = True
        names.add(name)


class _Ahead:
    """Judges a directive of a script before the first one acts.

    Args:
        earlier: directives and statements of the revision.
        between: what those statements can change.
        undone: the runs of drops and restores.
    """

    def __init__(
        self,
        script: Script,
        earlier: Sequence[Item],
        options: Overrides,
        between: Sequence[Effect],
        undone: Undone,
    ) -> None:
        self._script = script
        self._earlier = earlier
        self._options = options
        self._between = between
        self._undone = undone

    def judge(self, item: MigrateOperation) -> None:
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
            self._drop(item.key)
        elif isinstance(item, RestoreDuplicatesOp):
            choice = ledger.to_restore("v_relid", item.key, revision=self._undone.revision)
            self._way_back(item.key, choice)

    def _drop(self, key: UniqueKey) -> None:
        if key.form == "constraint":
            droppable_procedure(self._script, key, keeps_adopted=self._undone.keeps_adopted)
            self._script.write("CALL pg_temp.dupe_audit_droppable(false)")
        self._way_back(key, ledger.choose_by_name(key.name), any_run_suffices=True)
        if key.form == "index":
            droppable_index_function(self._script, key, keeps_adopted=self._undone.keeps_adopted)
            self._script.write("DO $judge$ BEGIN PERFORM * FROM pg_temp.dupe_audit_droppable_index(false); END $judge$")

    def _catalogs(self, key: UniqueKey, rule: CleanupRule, irrelevant: Collection[str]) -> None:
        self._script.expressions_function()
        tree = self._options.is_partitioned(key)
        expressions = text_array(filter(None, key.expressions))
        blockers = statement(
            "blockers",
            relid="v_relid",
            key=text_array(filter(None, key.names)),
            expressions=expressions,
            expression_types="v_types",
            named=text_array((*rule.named_columns, *key.include)),
            constraint_name=literal(key.name),
            nulls_not_distinct=literal(key.nulls_not_distinct),
            default_read_only="false",
            changes_rows=literal(rule.changes_rows),
        )
        self._script.write(
            statement(
                "offline_judge",
                relid=catalog.relid_sql(key),
                table_name=literal(key.table),
                expressions=expressions,
                predicate=literal(key.where),
                order_expressions=text_array(filter(None, (part.expression for part in rule.orderings))),
                blockers=tree_blockers(blockers, text_array(filter(None, key.names))) if tree else blockers,
                # The first directive judges the ledger.
                errors=self._errors({*irrelevant, "untrusted-ledger", *beside(rule)}),
                changes=self._changes(key, rule),
            )
        )

    def _changes(self, key: UniqueKey, rule: CleanupRule) -> str:
        """Return what judges, at the end of a block, the columns that a rule changes."""
        if not rule.changes_rows:
            return ""
        changes_function(self._script)
        fragments = statement("fragments", relid="v_relid", **catalog.rule_fragment_holes(key, rule))
        holes = f"(SELECT pg_catalog.to_jsonb(f) FROM ({fragments}) AS f)"
        names, changes = text_array(filter(None, key.names)), ", ".join(catalog.change_holes(rule).values())
        return f"\n    PERFORM pg_temp.dupe_audit_changes(v_relid, {holes}, {names}, {changes}, {_NOTE});"

    def _errors(self, irrelevant: Collection[str]) -> str:
        return text_array(self._stopping_ids(irrelevant))

    def _stopping_ids(self, irrelevant: Collection[str]) -> list[str]:
        ignored = {*self._options.accept, *irrelevant}
        return [id_ for id_, entry in CATALOGUE.items() if entry.severity == "error" and id_ not in ignored]

    def _rows(self, key: UniqueKey, rule: CleanupRule | None) -> None:
        """Write what counts the rows that would be refused, unless something before it can change them.

        Args:
            rule: of the cleanup; None if no directive archives the extras.
        """
        changed = any(change.concerns(key.schema, key.table) for change in self._between)
        # The rows of a tree are judged leaf by leaf, when the directive is executed.
        if changed or not rows_are_known(key, self._earlier) or self._options.is_partitioned(key):
            return
        cleaned = [item.key for item in self._earlier if isinstance(item, ArchiveDuplicatesOp)]
        tables = ", ".join(f"({catalog.relid_sql(table)})" for table in cleaned)
        fragments = catalog.rule_fragment_holes(key, rule or CleanupRule())
        self._script.measure_function()
        if rule and rule.exact == "amend":
            self._script.expressions_function()
            self._script.write(judged_key(key, note=_NOTE, judge_width="key-too-wide" in self._stopping_ids(())))
            return  # no row leaves
        self._script.write(
            with_templates(
                "offline_count",
                relid=catalog.relid_sql(key),
                expressions=text_array(filter(None, key.expressions)),
                predicate=literal(key.where),
                archived=literal(rule is not None),
                refuse_divergent=literal(rule is not None and rule.divergent == "refuse"),
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
                    relids="v_relid",
                    key_names=text_array(filter(None, key.names)),
                    own_index="NULL::pg_catalog.text",
                ),
                references=statement("references", relid="v_relid"),
                collisions=statement("collisions", relid="v_relid", pairs="v_pairs"),
                sequential=counting_settings(self._options.work_mem),
            )
        )

    def _way_back(self, key: UniqueKey, choice: ledger.Choice, *, any_run_suffices: bool = False) -> None:
        undo_function(self._script, key, choice, self._undone, any_run_suffices=any_run_suffices)
        self._script.write("DO $judge$ BEGIN PERFORM * FROM pg_temp.dupe_audit_undo(); END $judge$")
