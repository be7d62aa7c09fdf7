"""Judge one directive of a revision: whether the database as it is now would refuse it, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from alembic.operations import MigrateOperation
from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.cleanup import try_ahead
from dupe_audit.constraint import drop_findings, has_definition, is_absent, temporary_name
from dupe_audit.directives.ledger_runs import kept_constraints, left_duplicates, missing_run
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.recording import Item
from dupe_audit.directives.subjects import identities, subject
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import Finding, finding
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import require_encodable
from dupe_audit.postgres.missing_table import missing_table
from dupe_audit.preflight import judge, preflight, try_index

#: findings that do not stop a build: it deletes and inserts nothing, and it waits for another one
NOT_ABOUT_THE_BUILD = {
    "invalid-index",
    "live-build",
    "wrong-definition",
    "delete-trigger",
    "rewrite-rule",
    "foreign-key-unindexed",
}
#: findings that do not stop a cleanup: it builds no index, and waits at the run lock for an earlier upgrade's build
NOT_ABOUT_THE_CLEANUP = {"live-build", "invalid-index"}
#: the only ones that stop a drop or a restore
ABOUT_THE_WAY_BACK = {"not-owner", "read-only-server", "transaction-pooler", "untrusted-ledger", "table-missing"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found about one directive."""

    operation: MigrateOperation
    subject: str  #: the key or constraint, and its table
    findings: tuple[Finding, ...] = ()
    problems: tuple[str, ...] = ()  #: as text, where no finding exists

    @property
    def refused(self) -> bool:
        """Whether the directive cannot succeed."""
        return bool(self.problems) or any(finding.severity == "error" for finding in self.findings)

    @property
    def text(self) -> str:
        """Why the directive is refused, one paragraph per reason."""
        errors = [finding for finding in self.findings if finding.severity == "error"]
        lines = [f"  [{finding.id}] {finding.message}\n      {finding.help}" for finding in errors]
        return "\n".join([*lines, *(f"  {problem}" for problem in self.problems)])


class Examiner:
    """Examines single directives of one revision on one connection.

    Args:
        options: of the command line.
        locate: fills in the schema of a key, as Alembic's own operations would.
        items: of the revision, in order; empty if they are not known.
        requires_run: whether the ledger must have a run for a drop or a restore.
        undone: the revision that a downgrade undoes; None in an upgrade.
    """

    def __init__(
        self,
        connection: Connection,
        options: Overrides,
        locate: Callable[[UniqueKey], UniqueKey],
        items: Sequence[Item] = (),
        *,
        requires_run: bool = False,
        undone: str | None = None,
    ) -> None:
        self._connection = connection
        self.options = options
        self.locate = locate
        self._items = items
        self._requires_run = requires_run
        self._undone = undone
        self._drop_findings = partial(drop_findings, connection, keeps_adopted=undone is not None)
        self._identify = identities(connection, locate)

    def examine(self, operation: MigrateOperation, *, measure_width: bool = True, count: bool = False) -> Verdict:
        """Return the verdict on one directive as the database is now.

        Args:
            measure_width: whether to scan the table for keys that are too wide.
            count: whether to count what its cleanup would refuse; a ranking of the whole table.
        """
        key = self.locate(operation.key)  # type: ignore[attr-defined]
        match = catalog.find(self._connection, key)
        located = match[0] if match else key
        findings: list[Finding] = []
        problems: list[str] = []
        if isinstance(operation, ArchiveDuplicatesOp):
            rule = self.options.cleanup_rule(operation.rule)
            findings = self._cleanup_findings(key, rule, measure_width=measure_width and not count, count=count)
        elif isinstance(operation, CreateUniqueConstraintOnlineOp):
            require_encodable(self._connection, operation.rule.comment or "")
            findings = self._create_findings(operation, key, measure_width=measure_width, count=count)
        elif isinstance(operation, DropUniqueConstraintOnlineOp):
            findings = (self._way_back_findings(key) if match else []) or self._drop_findings(key)
            if match and not findings:
                findings, problems = self._run_problems(match[1], lambda: self._run_to_drop(match[1], str(key.name)))
                if self._undone:
                    problems += kept_constraints(self._connection, match[1], str(key.name), self._undone, self._items)
            findings = [item for item in findings if item.id not in self._resolved_by_creates(operation)]
        elif isinstance(operation, RestoreDuplicatesOp):
            findings = [finding for finding in self._way_back_findings(key) if finding.id != "table-missing"]
            if match and not findings:
                findings, problems = self._run_problems(match[1], lambda: self._run_to_restore(match[1], key))
            elif match is None and self._requires_run:
                findings = [missing_table(self._connection, key)]
        return Verdict(
            operation=operation, subject=subject(operation, located), findings=tuple(findings), problems=tuple(problems)
        )

    def _run_problems(self, relation: Relation, find_run: Callable[[], bool]) -> tuple[list[Finding], list[str]]:
        """Return why a run cannot be undone, as findings or as text."""
        try:
            if not find_run() and self._requires_run:
                return [missing_run(self._connection, relation)], []
        except Refused as refused:
            return list(refused.findings), []
        except DupeAuditError as error:
            return [], [str(error)]
        return [], []

    def _run_to_drop(self, relation: Relation, name: str) -> bool:
        return bool(ledger.run_to_drop(self._connection, relation, name)) or ledger.has_run(self._connection, relation)

    def _run_to_restore(self, relation: Relation, key: UniqueKey) -> bool:
        latest = ledger.run_to_restore(self._connection, relation, key, revision=self._undone)
        if latest and latest.run.purged_at is None and latest.run.state != "restored":
            ledger.require_way_back(self._connection, latest.run, relation, lead="Nothing was restored.")
        return latest is not None

    def _cleanup_findings(
        self, key: UniqueKey, rule: CleanupRule, *, measure_width: bool, count: bool
    ) -> list[Finding]:
        accept = self.options.accept
        findings = judge(self._connection, key, rule, accept=accept, measure_width=measure_width)
        if count and not any(finding.severity == "error" for finding in findings):
            report = preflight(self._connection, key, rule, accept=accept, work_mem=self.options.work_mem)
            findings += [item for item in report.findings if item.severity == "error"]
        findings += try_index(self._connection, key, unless=findings)
        if count and not any(finding.severity == "error" for finding in findings):
            findings += try_ahead(self._connection, key, rule, work_mem=self.options.work_mem)
        return list(dict.fromkeys(item for item in findings if item.id not in NOT_ABOUT_THE_CLEANUP))

    def _create_findings(
        self, operation: CreateUniqueConstraintOnlineOp, key: UniqueKey, *, measure_width: bool, count: bool
    ) -> list[Finding]:
        retiring = [str(drop.key.name) for drop in self._drops_before(operation)]
        expected = [*retiring, temporary_name(key)]
        findings = judge(self._connection, key, CleanupRule(), accept=self.options.accept, measure_width=measure_width)
        findings = [
            item
            for item in findings
            if item.id not in NOT_ABOUT_THE_BUILD
            and not (
                item.id in ("equivalent-index", "stricter-index")
                and item.message.startswith(
                    tuple(f"{kind} {name} " for kind in ("Constraint", "Index") for name in expected)
                )
            )
        ]
        findings += self._name_findings(key, replaced=key.name in retiring)
        findings += try_index(self._connection, key, unless=findings)
        if count and not any(finding.severity == "error" for finding in findings):
            counts = preflight(self._connection, key, work_mem=self.options.work_mem).counts
            if counts and counts.extras:
                cleanups = [item.key for item in self._items if isinstance(item, ArchiveDuplicatesOp)]
                cleaned = [other for other in cleanups if self._is_same_table(other, operation.key)]
                findings.append(left_duplicates(key, counts.extras, cleaned))
        return findings

    def _name_findings(self, key: UniqueKey, *, replaced: bool) -> list[Finding]:
        """Return what is wrong with the object that has the constraint's name now."""
        match = catalog.find(self._connection, key)
        if match is None:
            return []
        state = catalog.index_state(self._connection, match[1].relid, key)
        if state is None or (replaced and state.constraint in (key.name, None)) or is_absent(self._connection, key):
            return []  # what has the name elsewhere in the schema is finding name-taken
        if not state.same_definition or (state.constraint and not state.same_constraint_form):
            return [catalog.wrong_definition(match[1], state)]
        if not state.valid and not ledger.is_building(self._connection, match[1].relid, str(key.name)):
            return [finding("invalid-index", key.name)]
        return []

    def _way_back_findings(self, key: UniqueKey) -> list[Finding]:
        findings = judge(
            self._connection, replace(key, name=None), CleanupRule(), accept=self.options.accept, measure_width=False
        )
        return [item for item in findings if item.id in ABOUT_THE_WAY_BACK]

    def _drops_before(self, create: CreateUniqueConstraintOnlineOp) -> list[DropUniqueConstraintOnlineOp]:
        items = self._items[: self._items.index(create)] if create in self._items else ()
        drops = (item for item in items if isinstance(item, DropUniqueConstraintOnlineOp))
        return [drop for drop in drops if self._is_same_table(drop.key, create.key)]

    def _resolved_by_creates(self, drop: DropUniqueConstraintOnlineOp) -> set[str]:
        """Return what does not stop a drop, because a create of this revision renames or has replaced what it drops."""
        creates = (item for item in self._items if isinstance(item, CreateUniqueConstraintOnlineOp))
        keys = [self.locate(create.key) for create in creates if self._is_same_table(create.key, drop.key)]
        ready = [key.name for key in keys if has_definition(self._connection, key, str(drop.key.name))]
        other_form = {"not-a-unique-index", "not-a-constraint"} if drop.key.name in ready else set()
        return {"constraint-in-use"} | other_form if ready else set()

    def _is_same_table(self, key: UniqueKey, other: UniqueKey) -> bool:
        return self._identify(key) == self._identify(other)
