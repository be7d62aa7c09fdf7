"""One table: what an error of the server means for the rows that were being written."""

from __future__ import annotations

import re
from enum import Enum

import psycopg

from dupe_audit.postgres.sqlstates import reason


class Class(Enum):
    """What to do after an error."""

    RETRY = "retry"  #: a matter of the moment: the same rows again, soon
    RECONNECT = "reconnect"  #: the session is gone or of no use: the same rows again, over another one
    REPROBE = "reprobe"  #: the table is not what it was: read the catalog, then the same rows again
    ROW = "row"  #: a row is at fault: find it, and write the others
    UNIQUE = "unique"  #: a unique index objects: RETRY if it is one of the key, ROW if it is another
    FATAL = "fatal"  #: every row would meet it: stop


#: by whole SQLSTATE, else by its class of two characters (PostgreSQL documentation, appendix A)
CLASSES: dict[str, Class] = {
    "08": Class.RECONNECT,  # connection exception
    "0A000": Class.REPROBE,  # a cached plan that must not change: the table was altered
    "20": Class.ROW,  # case not found: a trigger's
    "21": Class.ROW,  # cardinality violation: a trigger's
    "22": Class.ROW,  # data exception
    "2200H": Class.FATAL,  # a sequence has come to its end
    "23": Class.ROW,  # integrity; where a parent is missing it may come later, so the row can be replayed
    "23505": Class.UNIQUE,
    "25006": Class.RECONNECT,  # a standby, after a failover
    "26000": Class.REPROBE,  # a prepared statement that a pooler has lost
    "38": Class.ROW,  # external routine
    "39": Class.ROW,  # external routine invocation
    "40": Class.RETRY,  # deadlock, serialization
    "42703": Class.REPROBE,  # no such column: it was renamed, or went
    "42704": Class.REPROBE,  # no such constraint
    "42846": Class.ROW,  # a value of a type that has no cast to the column's
    "42804": Class.REPROBE,  # a column of another type than it was
    "42883": Class.REPROBE,  # no such operator, for a column of another type than it was
    "42P01": Class.REPROBE,  # no such table, or no stage: a pooler or DISCARD took it
    "42P10": Class.REPROBE,  # no index for these columns, or not valid yet
    "44000": Class.ROW,  # check option of a view
    "53": Class.RETRY,  # disk full, out of memory, too many connections
    "54": Class.ROW,  # a key too wide for a btree page, JSON that is nested too deep
    "55000": Class.REPROBE,  # deferrable, so no arbiter
    "55P03": Class.RETRY,  # lock not available
    "57014": Class.RETRY,  # cancelled, by a timeout or by somebody
    "57": Class.RECONNECT,  # shutdown, crash, terminated
    "P0": Class.ROW,  # raised by a trigger
}


#: the function of PostgreSQL's that carries out RAISE of PL/pgSQL
_RAISE = "exec_stmt_raise"

#: what a server that speaks English says of a value, which is in double quotes; in other languages it is in others
_HARMLESS = re.compile(
    r"invalid input syntax for type [\w ]+(: …)?|invalid input value for enum [\w.]+: …|numeric field overflow"
    r"|value too long for type [\w ]+\(\d+\)|bit string length \d+ does not match type bit\(\d+\)|division by zero"
    r"|value … is out of range for type [\w ]+|(date/time field value|[\w ]+) out of range(: …)?"
    r"|malformed (array|range|record) literal: …|invalid byte sequence for encoding …"
    r"|unsupported Unicode escape sequence"
)


def classify(error: psycopg.Error) -> Class:
    """Return what to do after *error*.

    An error without a SQLSTATE never came from the server: the connection is lost, or psycopg could not
    write a value down.
    """
    code = error.sqlstate
    if code is None:
        lost = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        return Class.RECONNECT if lost else Class.ROW
    # A trigger may raise any code, and a policy refuses rows with the code of a missing permission.
    of_row = error.diag.source_function in (_RAISE, "ExecWithCheckOptions")
    return CLASSES.get(code) or CLASSES.get(code[:2]) or (Class.ROW if of_row else Class.FATAL)


def why(error: psycopg.Error) -> str:
    """Return what is wrong with a row, in one line without the row's contents (H200)."""
    code = error.sqlstate
    if code is None:
        return "a value could not be sent"
    if error.diag.source_function == _RAISE or code[:2] in ("P0", "38", "39"):
        return "a trigger of the table refused the row"  # in words of its own, which can quote the row
    if code.startswith("22"):
        said = re.sub(r'".*"', "…", error.diag.message_primary or str(error), flags=re.DOTALL)
        return said if _HARMLESS.fullmatch(said) else "a value is none that its column can store"
    return reason(error)
