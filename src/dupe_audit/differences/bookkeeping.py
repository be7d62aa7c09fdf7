"""Columns that look like bookkeeping: they say when, by whom or in which load a row was stored, not what it means."""

from __future__ import annotations

import re
from typing import NamedTuple

#: what happened to a row, as in ``updated_at`` or ``date_modified``
_EVENT = (
    "(?:row_)?(?:last_)?(?:created?|updated?|modif(?:ied|y)|changed?|inserted?|received?|arrived?|imported?|loaded?|"
    "ingested|synced|sync|synchronized|fetched|extracted|refreshed|replicated|stored|saved|crawled|scraped|touched|"
    "creation|modification|arrival|insertion|ingestion)"
)
_MOMENT = re.compile(
    rf"(?:(?:{_EVENT})(?:_(?:at|on|ts|tz|time|date|datetime|timestamp|utc))*"
    rf"|(?:date|time|ts|timestamp|datetime)_(?:{_EVENT})|[cm]time)"
)
_VERSION = re.compile(
    r"(?:row|lock|opt_?lock|optimistic_lock|record|object|entity)?_?version(?:_(?:id|no|num|number))?|opt_?lock|rowversion"
)
#: the tool that loads the rows, or the person or program that stored them; of any type
_LOADER = re.compile(
    r"_?(?:etl|elt|airbyte|fivetran|dlt|sdc|dbt|dw|dwh|ingest|ingestion|import|load|batch|sync|pipeline)_(?:\w+_)?"
    r"(?:ids?|uuid|run|batch|key|no|number|at|time|ts|hash|file|source|job|meta|raw_id|extracted_at|synced)"
    r"|_(?:airbyte|fivetran|dlt|sdc)_\w+"
    rf"|(?:{_EVENT})_by(?:_id)?|etag"
)
_MOMENT_TYPES = re.compile(r"timestamp|date$|time ")
_WHOLE_TYPES = ("smallint", "integer", "bigint", "numeric")
_NOW = re.compile(
    r"\b(?:now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\(\)|'now'|"
    r"\b(?:CURRENT_TIMESTAMP|CURRENT_DATE|CURRENT_TIME|LOCALTIMESTAMP|LOCALTIME)\b"
)


class ComparedColumn(NamedTuple):
    """A column in which the rows of a group are compared."""

    name: str
    type: str  #: without length or precision
    identity: bool  #: GENERATED … AS IDENTITY
    default_sql: str | None


def reason(column: ComparedColumn) -> str | None:
    """Return what makes a column look like bookkeeping, as a noun; None if nothing does.

    It judges by type, default and name; only a count can show whether copies differ nowhere else.
    """
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column.name).lower()
    default = column.default_sql or ""
    moment, whole = bool(_MOMENT_TYPES.match(column.type)), column.type in _WHOLE_TYPES
    if column.identity or "nextval(" in default:
        return "a sequence number"
    if moment and _NOW.search(default):
        return "an insertion time, by its default"
    if moment and _MOMENT.fullmatch(name):
        return "a storage time, by its name"
    if whole and _VERSION.fullmatch(name):
        return "a row version, by its name"
    if _LOADER.fullmatch(name):
        return "a record of who or what stored the row, by its name"
    return None
