"""What an error of the server means for the rows that were being written, in one table."""

from __future__ import annotations

import re
from enum import Enum

import psycopg

from dupe_audit.postgres.sqlstates import (
    CANNOT_COERCE,
    CLASS_CARDINALITY,
    CLASS_CASE_NOT_FOUND,
    CLASS_CONNECTION,
    CLASS_CONSTRAINT,
    CLASS_DATA,
    CLASS_EXTERNAL_ROUTINE,
    CLASS_EXTERNAL_ROUTINE_INVOCATION,
    CLASS_LIMIT,
    CLASS_OPERATOR,
    CLASS_RAISED,
    CLASS_RESOURCES,
    CLASS_ROLLBACK,
    DATATYPE_MISMATCH,
    FEATURE_NOT_SUPPORTED,
    INVALID_COLUMN_REFERENCE,
    INVALID_STATEMENT_NAME,
    LOCK_NOT_AVAILABLE,
    OBJECT_NOT_IN_STATE,
    QUERY_CANCELED,
    READ_ONLY_TRANSACTION,
    SEQUENCE_EXHAUSTED,
    UNDEFINED_COLUMN,
    UNDEFINED_FUNCTION,
    UNDEFINED_OBJECT,
    UNDEFINED_TABLE,
    UNIQUE_VIOLATION,
    WITH_CHECK_OPTION_VIOLATION,
    reason,
)


class ErrorClass(Enum):
    """What to do after an error."""

    RETRY = "retry"  #: a passing condition: send the same rows again soon
    RECONNECT = "reconnect"  #: the session is lost or unusable: send the same rows again over another connection
    REPROBE = "reprobe"  #: the table has changed: read the catalog, then send the same rows again
    ROW = "row"  #: a row is at fault: find it, and write the others
    UNIQUE = "unique"  #: a unique index is violated: RETRY if it is one over the key, ROW if it is another
    FATAL = "fatal"  #: every row would cause it: stop


#: by SQLSTATE, or else by its class of two characters (PostgreSQL documentation, appendix A)
CLASSES: dict[str, ErrorClass] = {
    CLASS_CONNECTION: ErrorClass.RECONNECT,
    FEATURE_NOT_SUPPORTED: ErrorClass.REPROBE,  # the table was altered, so a cached plan does not fit
    CLASS_CASE_NOT_FOUND: ErrorClass.ROW,  # from a trigger
    CLASS_CARDINALITY: ErrorClass.ROW,  # from a trigger
    CLASS_DATA: ErrorClass.ROW,
    SEQUENCE_EXHAUSTED: ErrorClass.FATAL,
    CLASS_CONSTRAINT: ErrorClass.ROW,  # a missing parent may be inserted later, so the row can be replayed
    UNIQUE_VIOLATION: ErrorClass.UNIQUE,
    READ_ONLY_TRANSACTION: ErrorClass.RECONNECT,  # a standby, after a failover
    INVALID_STATEMENT_NAME: ErrorClass.REPROBE,  # a pooler has lost a prepared statement
    CLASS_EXTERNAL_ROUTINE: ErrorClass.ROW,
    CLASS_EXTERNAL_ROUTINE_INVOCATION: ErrorClass.ROW,
    CLASS_ROLLBACK: ErrorClass.RETRY,  # deadlock, serialization failure
    UNDEFINED_COLUMN: ErrorClass.REPROBE,  # it was renamed or dropped
    UNDEFINED_OBJECT: ErrorClass.REPROBE,  # the constraint does not exist
    DATATYPE_MISMATCH: ErrorClass.REPROBE,  # the column's type was changed
    CANNOT_COERCE: ErrorClass.ROW,  # the value's type has no cast to the column's
    UNDEFINED_FUNCTION: ErrorClass.REPROBE,  # no such operator: the column's type was changed
    UNDEFINED_TABLE: ErrorClass.REPROBE,  # the table, or the stage: a pooler or DISCARD dropped it
    INVALID_COLUMN_REFERENCE: ErrorClass.REPROBE,  # no index over these columns, or it is not valid yet
    WITH_CHECK_OPTION_VIOLATION: ErrorClass.ROW,  # of a view
    CLASS_RESOURCES: ErrorClass.RETRY,  # disk full, out of memory, too many connections
    CLASS_LIMIT: ErrorClass.ROW,  # a key too wide for a btree page, JSON nested too deep
    OBJECT_NOT_IN_STATE: ErrorClass.REPROBE,  # the constraint is deferrable, so ON CONFLICT cannot use it
    LOCK_NOT_AVAILABLE: ErrorClass.RETRY,
    CLASS_OPERATOR: ErrorClass.RECONNECT,  # shutdown, crash, terminated
    QUERY_CANCELED: ErrorClass.RETRY,  # by a timeout or by an administrator
    CLASS_RAISED: ErrorClass.ROW,  # by a trigger
}


#: the function in the server's source that executes RAISE of PL/pgSQL
_RAISE = "exec_stmt_raise"

#: the function in the server's source that checks policies of row-level security
_POLICY = "ExecWithCheckOptions"

#: what an English-speaking server says about a value, which it puts in double quotes; other languages use other quotes
_HARMLESS = re.compile(
    r"invalid input syntax for type [\w ]+(: …)?|invalid input value for enum [\w.]+: …|numeric field overflow"
    r"|value too long for type [\w ]+\(\d+\)|bit string length \d+ does not match type bit\(\d+\)|division by zero"
    r"|value … is out of range for type [\w ]+|(date/time field value|[\w ]+) out of range(: …)?"
    r"|malformed (array|range|record) literal: …|invalid byte sequence for encoding …"
    r"|unsupported Unicode escape sequence"
)


def classify(error: psycopg.Error) -> ErrorClass:
    """Return what to do after *error*.

    An error without a SQLSTATE does not come from the server: the connection is lost, or psycopg could not encode a
    value.
    """
    code = error.sqlstate
    if code is None:
        lost = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        return ErrorClass.RECONNECT if lost else ErrorClass.ROW
    # A trigger may raise any code, and a policy rejects rows with the code of a missing permission.
    of_row = error.diag.source_function in (_RAISE, _POLICY)
    return CLASSES.get(code) or CLASSES.get(code[:2]) or (ErrorClass.ROW if of_row else ErrorClass.FATAL)


def safe_reason(error: psycopg.Error) -> str:
    """Return what is wrong with a row, in one line without the row's contents (H200)."""
    code = error.sqlstate
    if code is None:
        return "a value could not be sent"
    raising = (CLASS_RAISED, CLASS_EXTERNAL_ROUTINE, CLASS_EXTERNAL_ROUTINE_INVOCATION)
    if error.diag.source_function == _RAISE or code.startswith(raising):
        return "a trigger of the table rejected the row"  # the trigger's own message can quote the row
    if code.startswith(CLASS_DATA):
        message = re.sub(r'".*"', "…", error.diag.message_primary or str(error), flags=re.DOTALL)
        return message if _HARMLESS.fullmatch(message) else "a value is not valid for its column"
    return reason(error)
