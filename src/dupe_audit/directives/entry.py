"""The entry of a campaign in the ledger: its schemas, its state, its runs, and what of it is done already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from alembic.operations import MigrateOperation
from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.directives.operations import ArchiveDuplicatesOp, CreateUniqueConstraintOnlineOp
from dupe_audit.findings import quantity
from dupe_audit.model import CampaignState, Schemas, UniqueKey
from dupe_audit.postgres import catalog


class CampaignEntry:
    """The entry of one execution of a revision; an upgrade continues the one of an earlier attempt.

    Args:
        revision: that is executed, or undone.
        upgrading: whether it is executed; a downgrade opens no campaign.
    """

    def __init__(self, connection: Connection, revision: str | None, *, upgrading: bool) -> None:
        self._revision = revision
        self._upgrading = upgrading
        self._earlier = ledger.find_campaign(connection, revision)
        self.number = self._earlier.id if self._earlier else None

    @property
    def earlier_schemas(self) -> tuple[str, ...]:
        """The schemas that an earlier attempt, or the upgrade that is undone, has entered."""
        return self._earlier.schemas if self._earlier else ()

    def open(self, connection: Connection, key: UniqueKey) -> None:
        """Create the ledger, unless it exists, as for the work on a table."""
        _, relation = catalog.require(connection, key)
        ledger.create(connection, relation.owner, relid=relation.relid)

    def record(
        self, connection: Connection, schemas: Iterable[Schemas], names: Iterable[str], state: CampaignState
    ) -> None:
        """Record the schemas and the state."""
        everything = tuple(dict.fromkeys((*self.earlier_schemas, *names)))
        query = "\n".join(each.query for each in schemas if each.query) or None
        if self.number is None:
            self.number = ledger.open_campaign(connection, self._revision, query, everything)
        else:
            ledger.set_campaign(connection, self.number, query=query, schemas=everything, state=state)

    def join(self, connection: Connection, names: Iterable[str], tables: Iterable[str]) -> None:
        """Enter in the runs of these tables that they belong to the campaign."""
        if self.number is not None and self._upgrading:
            ledger.join_campaign(connection, self.number, self._revision, names, tables)

    def passed(
        self,
        connection: Connection,
        names: Sequence[str],
        directives: Iterable[tuple[MigrateOperation, Sequence[str]]],
    ) -> set[str]:
        """Return the schemas in which an upgrade has nothing to do, by one query per key.

        Args:
            names: of the schemas.
            directives: with ``schemas``, each with the names of its schemas.
        """
        if not (self._upgrading and self._earlier):
            return set()
        enforced: dict[tuple[object, ...], set[str]] = {}
        for each, _ in directives:
            if isinstance(each, CreateUniqueConstraintOnlineOp):
                done = ledger.enforced_schemas(connection, each.key, names, self._revision)
                enforced[each.key.table, each.key.scope] = done
        passed = set(names) if enforced else set()
        for each, own in directives:
            done = set()
            if isinstance(each, CreateUniqueConstraintOnlineOp | ArchiveDuplicatesOp):
                done = enforced.get((each.key.table, each.key.scope), set())
            passed -= set(own) - done
        return passed

    def fact(self, connection: Connection | None, begun: Mapping[str, bool]) -> str:
        """Return in words what the campaign has committed and not undone; empty if that is nothing.

        Args:
            connection: in autocommit; None if it was lost.
            begun: the schemas, and whether their work has begun.
        """
        if self.number is None:
            return ""
        if connection is None:
            if not any(begun.values()):
                return ""
            count = quantity(sum(begun.values()), "schema")
            return f"campaign {self.number} has worked on {count} of {len(begun):,}"
        runs = [run for run, _ in ledger.find_runs(connection, f"r.campaign = {self.number}")]
        if not self._upgrading:
            undone, dropped = (sum(run.state == state for run in runs) for state in ("restored", "dropped"))
            done = [f"is undone in {quantity(undone, 'schema')}"] if undone else []
            done += [f"has dropped the keys of {quantity(dropped, 'schema')}"] if dropped else []
            return f"campaign {self.number} {' and '.join(done)}" if done else ""
        rows, enforced = sum(run.remaining for run in runs), sum(run.state == "enforced" for run in runs)
        archived = f"keeps {quantity(rows, 'row')} in its archives" if rows else ""
        keys = f"enforces keys in {quantity(enforced, 'schema')}" if enforced else ""
        committed = " and ".join(filter(None, (archived, keys)))
        return f"campaign {self.number} {committed}" if committed else ""
