"""The outcome of a row, and the error after which the same call can be repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dupe_audit.errors import DupeAuditError

Kind = Literal["inserted", "duplicate", "in_batch", "collision", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one row."""

    #: inserted · duplicate: of an existing row · in_batch: duplicate of a row inserted by the same call ·
    #: collision: the key exists with other data, which was not changed · rejected: the row cannot be stored
    kind: Kind
    id: Any = None  #: primary key of the row in the table now; a tuple if it has several columns; None if unknown
    sqlstate: str | None = None  #: of a rejected row; None if the row was not sent to the server
    reason: str | None = None  #: why it was rejected, in one line without the row's contents


class Unavailable(DupeAuditError):
    """The rows could not be written now, through no fault of theirs; repeat the same call later.

    Rows that were committed are then reported as duplicates: nothing is written twice.

    Attributes:
        sqlstate: of the server's error; None if the connection was lost.
        reconnect: whether the connection is unusable; then open another, and create a new Writer.
    """

    def __init__(self, message: str, *, sqlstate: str | None = None, reconnect: bool = False) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.reconnect = reconnect
