"""Campaigns: what one revision does in many schemas, with a run per table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection

from dupe_audit.errors import DupeAuditError
from dupe_audit.ledger.runs import VERSION
from dupe_audit.ledger.tables import exists, make_private, relation_exists
from dupe_audit.model import CampaignState, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import ledger_transaction
from dupe_audit.statements import literal, statement, text_array

TABLE = "dupe_audit.campaign"


class RecordedCampaign(NamedTuple):
    """A campaign, as the ledger has it."""

    id: int
    revision: str | None
    query: str | None  #: that returned the schemas; None for a list
    schemas: tuple[str, ...]
    state: CampaignState
    started_at: str
    finished_at: str | None


def find_campaigns(connection: Connection, condition: str) -> list[RecordedCampaign]:
    """Return the campaigns that meet a trusted SQL *condition* about ``c``, oldest first.

    Raises:
        Refused: a role that is not trusted could have prepared the ledger.
        DupeAuditError: an earlier version made it.
    """
    if not exists(connection) or not relation_exists(connection, TABLE):
        return []
    rows = execute(connection, statement("campaigns", condition=condition)).mappings()
    return [RecordedCampaign(**{**row, "schemas": tuple(row["schemas"])}) for row in rows]


def get_campaign(connection: Connection, number: int) -> RecordedCampaign:
    """Return one campaign.

    Raises:
        DupeAuditError: the ledger has no such campaign.
    """
    campaigns = find_campaigns(connection, f"c.id = {int(number)}")
    if not campaigns:
        raise DupeAuditError(
            f"The ledger of this database has no campaign {number}. To list its runs with their campaigns: "
            "dupe-audit runs"
        )
    return campaigns[0]


def find_campaign(connection: Connection, revision: str | None) -> RecordedCampaign | None:
    """Return the newest campaign of a revision that is not undone; None if there is none."""
    condition = f"c.revision IS NOT DISTINCT FROM {literal(revision)} AND c.state <> 'undone'"
    campaigns = find_campaigns(connection, condition)
    return campaigns[-1] if campaigns else None


def open_campaign(connection: Connection, revision: str | None, query: str | None, schemas: Iterable[str]) -> int:
    """Open a campaign in an existing ledger, and return its id; return that of another process that was faster."""
    values = {"revision": literal(revision), "query": literal(query), "schemas": text_array(schemas)}
    with ledger_transaction(connection):
        if existing := find_campaign(connection, revision):
            return existing.id
        if not relation_exists(connection, TABLE):
            role = "pg_catalog.quote_ident(CURRENT_USER)"
            owner = str(execute(connection, statement("ledger_owner", owner=role)).scalar_one())
            execute(connection, statement("create_campaign_table"))
            make_private(connection, TABLE, owner)
        sql = statement("open_campaign", **values, version=literal(VERSION))
        return int(execute(connection, sql).scalar_one())


def set_campaign(
    connection: Connection, number: int, *, query: str | None, schemas: Iterable[str], state: CampaignState
) -> None:
    """Record the schemas and the state of a campaign."""
    values = {"schemas": text_array(schemas), "query": literal(query), "state": literal(state)}
    execute(connection, statement("set_campaign", campaign=str(number), **values))


def join_campaign(
    connection: Connection, number: int, revision: str | None, schemas: Iterable[str], tables: Iterable[str]
) -> None:
    """Enter that the runs of a revision for tables in these schemas belong to a campaign."""
    holes = {"revision": literal(revision), "schemas": text_array(schemas), "tables": text_array(tables)}
    execute(connection, statement("join_campaign", campaign=str(number), **holes))


def enforced_schemas(connection: Connection, key: UniqueKey, schemas: Iterable[str], revision: str | None) -> set[str]:
    """Return the schemas in which a revision enforces a key already, by the catalog and the ledger, in one query.

    Expressions and a predicate are compared by the planner once for all tables whose indexes are written alike.

    Args:
        key: with the name of its constraint or index, in any schema.
    """
    if not exists(connection):
        return set()
    holes = catalog.index_state_holes(key)
    sql = statement(
        "enforced_schemas",
        schemas=text_array(schemas),
        table_name=literal(key.table),
        constraint_name=literal(key.name),
        revision=literal(revision),
        index_state=statement("index_state", relid="t.oid", **holes),
    )
    same: dict[tuple[object, ...], bool] = {}
    enforced = set()
    for row in execute(connection, sql).all():
        in_form = row.same_constraint_form if key.form == "constraint" else row.constraint_name is None
        if (key.form == "constraint" and row.constraint_name != key.name) or not in_form:
            continue
        written = (tuple(row.elements or ()), row.predicate, tuple(row.collations or ()))
        if written not in same:
            same[written] = catalog.has_elements(connection, key, row)
        if same[written]:
            enforced.add(str(row.schema))
    return enforced
