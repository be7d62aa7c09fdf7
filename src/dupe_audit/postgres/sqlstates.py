"""The server's error codes by name, and its errors in plain words."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import DupeAuditError

# PostgreSQL documentation, Appendix A. Error Codes
FEATURE_NOT_SUPPORTED = "0A000"
SEQUENCE_EXHAUSTED = "2200H"
STRING_TOO_LONG = "22001"
NUMBER_OUT_OF_RANGE = "22003"
INVALID_PARAMETER_VALUE = "22023"
INVALID_TEXT = "22P02"  #: a text that is no value of the type
RESTRICT_VIOLATION = "23001"  #: what ON DELETE RESTRICT raises from PostgreSQL 18 on
NOT_NULL_VIOLATION = "23502"
FOREIGN_KEY_VIOLATION = "23503"
UNIQUE_VIOLATION = "23505"
CHECK_VIOLATION = "23514"
READ_ONLY_TRANSACTION = "25006"
NO_ACTIVE_TRANSACTION = "25P01"
FAILED_TRANSACTION = "25P02"
IDLE_IN_TRANSACTION = "25P03"
INVALID_STATEMENT_NAME = "26000"
DEPENDENT_OBJECTS = "2BP01"
INVALID_SCHEMA_NAME = "3F000"
SERIALIZATION_FAILURE = "40001"  #: also a row that was moved to another partition
DEADLOCK = "40P01"
INSUFFICIENT_PRIVILEGE = "42501"
SYNTAX_ERROR = "42601"
UNDEFINED_COLUMN = "42703"
UNDEFINED_OBJECT = "42704"
GROUPING_ERROR = "42803"  #: such as an aggregate where none is allowed
DATATYPE_MISMATCH = "42804"
WRONG_OBJECT_TYPE = "42809"
CANNOT_COERCE = "42846"
UNDEFINED_FUNCTION = "42883"
UNDEFINED_TABLE = "42P01"
DUPLICATE_TABLE = "42P07"  #: also if the existing relation is an index
INVALID_COLUMN_REFERENCE = "42P10"  #: ON CONFLICT finds no unique index
WINDOWING_ERROR = "42P20"  #: such as a window function where none is allowed
INDETERMINATE_COLLATION = "42P22"
WITH_CHECK_OPTION_VIOLATION = "44000"
DISK_FULL = "53100"
OUT_OF_MEMORY = "53200"
CONFIGURATION_LIMIT = "53400"
PROGRAM_LIMIT = "54000"
OBJECT_NOT_IN_STATE = "55000"
LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"
UNDEFINED_FILE = "58P01"  #: an extension whose files are not installed
INTERNAL_ERROR = "XX000"  #: also an error of a worker that Citus passes on
DATA_CORRUPTED = "XX001"
INDEX_CORRUPTED = "XX002"

#: classes, the first two characters of a SQLSTATE; of the class of shutdowns, three
CLASS_CONNECTION = "08"
CLASS_FEATURE = "0A"  #: feature not supported
CLASS_CASE_NOT_FOUND = "20"
CLASS_CARDINALITY = "21"
CLASS_DATA = "22"
CLASS_CONSTRAINT = "23"
CLASS_ROUTINE = "2F"
CLASS_EXTERNAL_ROUTINE = "38"
CLASS_EXTERNAL_ROUTINE_INVOCATION = "39"
CLASS_SCHEMA = "3F"  #: no such schema
CLASS_ROLLBACK = "40"  #: transaction rollback
CLASS_SYNTAX = "42"  #: syntax, names, types and privileges
CLASS_CHECK_OPTION = "44"
CLASS_RESOURCES = "53"  #: insufficient resources
CLASS_LIMIT = "54"  #: program limit exceeded
CLASS_OPERATOR = "57"  #: operator intervention
CLASS_SHUTDOWN = "57P"
CLASS_SYSTEM = "58"  #: outside PostgreSQL, such as an error of a disk
CLASS_RAISED = "P0"  #: raised by PL/pgSQL, such as a trigger
CLASS_INTERNAL = "XX"

#: classes of errors of SQL that the server cannot read: its syntax, or a name that does not exist
UNREADABLE = (CLASS_SYNTAX, CLASS_SCHEMA)

#: classes of errors that are about one row, so others can go on without it
ABOUT_A_ROW = (CLASS_DATA, CLASS_CONSTRAINT, CLASS_CHECK_OPTION, CLASS_RAISED, CLASS_LIMIT, OUT_OF_MEMORY)

#: classes of errors that are about the connection or the server, so the next statement would fail as well
ABOUT_THE_SERVER = (CLASS_CONNECTION, CLASS_RESOURCES, CLASS_OPERATOR, CLASS_SYSTEM, CLASS_INTERNAL)

#: errors after which the same statement can succeed later
PASSING = (LOCK_NOT_AVAILABLE, DEADLOCK, SERIALIZATION_FAILURE)

#: errors of an expression or of a function that it calls; a domain that it casts to can have constraints
OF_AN_EXPRESSION = (
    CLASS_CASE_NOT_FOUND,
    CLASS_CARDINALITY,
    CLASS_DATA,
    NOT_NULL_VIOLATION,
    CHECK_VIOLATION,
    CLASS_ROUTINE,
    CLASS_EXTERNAL_ROUTINE,
    CLASS_EXTERNAL_ROUTINE_INVOCATION,
    INVALID_SCHEMA_NAME,
    CLASS_SYNTAX,
    CLASS_FEATURE,
    CLASS_RAISED,
)

#: errors of an expression that would need several rows: an aggregate, or a window function
OVER_SEVERAL_ROWS = (GROUPING_ERROR, WINDOWING_ERROR)

#: messages that can contain a value: the server's own about data, and whatever a function raises
QUOTES_VALUES = (CLASS_DATA, CLASS_ROUTINE, CLASS_EXTERNAL_ROUTINE, CLASS_EXTERNAL_ROUTINE_INVOCATION, CLASS_RAISED)

#: messages that name what was not found or not allowed, and no value
NAMES_NOT_FOUND = (UNDEFINED_FUNCTION, UNDEFINED_TABLE, UNDEFINED_OBJECT, INVALID_SCHEMA_NAME, INSUFFICIENT_PRIVILEGE)

#: what to do about INSUFFICIENT_PRIVILEGE
GRANT = "Connect as the owner of the table or schema, or have the owner grant the privilege."


def about_a_row(error: BaseException) -> bool:
    """Return whether an error is about one row, so that others can go on without it."""
    code = sqlstate(error) or ""
    # A value of a gigabyte is an internal error of the server (palloc).
    return code.startswith(ABOUT_A_ROW) or "invalid memory alloc request size" in reason(error)


def about_an_expression(error: BaseException) -> bool:
    """Return whether an error can be one of an expression; its message can then contain values of a row."""
    return (sqlstate(error) or "").startswith(OF_AN_EXPRESSION)


def quotes_values(error: BaseException) -> bool:
    """Return whether the message of an error can contain a value of a row, so that it is printed only on request."""
    return (sqlstate(error) or "").startswith(QUOTES_VALUES)


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE behind *error*, whether from psycopg 3, psycopg2, asyncpg or pg8000."""
    origin = getattr(error, "orig", None) or error
    for attribute in ("sqlstate", "pgcode"):
        if code := getattr(origin, attribute, None):
            return str(code)
    details = origin.args[0] if getattr(origin, "args", None) else None
    return str(details["C"]) if isinstance(details, dict) and "C" in details else None


def reason(error: BaseException) -> str:
    """Return the server's reason in one line, without DETAIL, which can contain key values (H200)."""
    origin = getattr(error, "orig", None) or error
    primary = getattr(getattr(origin, "diag", None), "message_primary", None)
    text = str(primary or origin).strip()
    return text.splitlines()[0] if text else type(origin).__name__


def detail(error: BaseException) -> str:
    """Return the server's DETAIL, or an empty string; only that of an error without row contents may be shown."""
    origin = getattr(error, "orig", None) or error
    text = getattr(getattr(origin, "diag", None), "message_detail", None) or getattr(origin, "detail", None)
    details = origin.args[0] if getattr(origin, "args", None) else None
    if not text and isinstance(details, dict):
        text = details.get("D")
    return str(text or "")


def friendly(error: DBAPIError, doing: str) -> DupeAuditError:
    """Return *error* as one paragraph that says what to do next.

    Args:
        doing: what failed, as the start of a sentence.
    """
    code = sqlstate(error) or ""
    hints = {
        INSUFFICIENT_PRIVILEGE: GRANT,
        READ_ONLY_TRANSACTION: "The session is read-only: connect to the primary, or reset "
        "default_transaction_read_only.",
        IDLE_IN_TRANSACTION: "The client was silent for too long in a transaction, perhaps because it was frozen; the "
        "server rolled the transaction back. Run the same command again: it continues where it stopped.",
        DISK_FULL: "Free space on the server's disk, then run the same command again.",
        OUT_OF_MEMORY: "The server has no memory left for it: lower maintenance_work_mem or work_mem, then run the "
        "same command again.",
        PROGRAM_LIMIT: "A row is larger than the server allows, such as a key too wide for an index; shorten that "
        "value, or choose another key, then run the same command again.",
        CONFIGURATION_LIMIT: "A configured limit was reached; raise it for this role, then run the same command again.",
        QUERY_CANCELED: "The statement was cancelled. Run the same command again: it continues where it stopped.",
        LOCK_NOT_AVAILABLE: "Another session holds a lock on the table. Wait for it, then run the same command again.",
        UNDEFINED_TABLE: "Check the schema and table name.",
    }
    hint = hints.get(code)
    if hint is None and (code.startswith((CLASS_CONNECTION, CLASS_SHUTDOWN)) or error.connection_invalidated):
        hint = (
            "The connection was lost. Committed work is safe. "
            "Run the same command again: it continues where it stopped."
        )
    hint = hint or "Remove the cause, then run the same command again."
    return DupeAuditError(f"{doing} failed: {reason(error)} (SQLSTATE {code or 'unknown'}). {hint}")
