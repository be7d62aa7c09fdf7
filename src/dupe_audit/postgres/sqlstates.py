"""The server's error codes, and its errors in plain words."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import DupeAuditError

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK = "40P01"
UNIQUE_VIOLATION = "23505"
QUERY_CANCELED = "57014"


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE behind *error*, for psycopg 3, psycopg2, asyncpg and pg8000 alike."""
    origin = getattr(error, "orig", None) or error
    for attribute in ("sqlstate", "pgcode"):
        if code := getattr(origin, attribute, None):
            return str(code)
    details = origin.args[0] if getattr(origin, "args", None) else None
    return str(details["C"]) if isinstance(details, dict) and "C" in details else None


def reason(error: BaseException) -> str:
    """Return the server's one-line reason, without the DETAIL line, which can hold key values (H200)."""
    origin = getattr(error, "orig", None) or error
    primary = getattr(getattr(origin, "diag", None), "message_primary", None)
    text = str(primary or origin).strip()
    return text.splitlines()[0] if text else type(origin).__name__


def friendly(error: DBAPIError, doing: str) -> DupeAuditError:
    """Return *error* as one paragraph that says what to do next."""
    code = sqlstate(error) or ""
    hints = {
        "42501": "Connect as the table's owner, or have the owner grant what is named.",
        "25006": "The session is read-only: connect to the primary, or reset default_transaction_read_only.",
        "53100": "Make room on the server's disk, then run the same command again.",
        "53400": "A configured limit was reached; raise it for this role, then run the same command again.",
        "57014": "Somebody cancelled the statement; run the same command again, it continues.",
        "55P03": "Another session holds the table; wait for it, then run the same command again.",
        "42P01": "Check the schema and table name.",
    }
    hint = hints.get(code)
    if hint is None and (code.startswith(("08", "57P")) or error.connection_invalidated):
        hint = "The connection was lost. What is committed is safe: run the same command again, it continues."
    hint = hint or "Run it again once the cause is gone."
    return DupeAuditError(f"{doing} failed: {reason(error)} (SQLSTATE {code or 'unknown'}). {hint}")
