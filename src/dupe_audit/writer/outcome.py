"""What became of a row, and the one error after which trying again is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dupe_audit.errors import DupeAuditError

Kind = Literal["inserted", "duplicate", "in_batch", "collision", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one row."""

    #: inserted · duplicate of a row that was there · in_batch: of one inserted by the same call ·
    #: collision: the key is there with other data, which was left as it is · rejected
    kind: Kind
    id: Any = None  #: the primary key of the row that is in the table now; a tuple of several columns; None if unknown
    sqlstate: str | None = None  #: of a rejected row; None where the value never reached the server
    reason: str | None = None  #: why it was rejected, in one line without the row's contents


class Unavailable(DupeAuditError):
    """The rows could not be written now, through no fault of theirs; the same call is right later.

    What was committed is found again then, and counted as duplicates: nothing is written twice.
    """

    def __init__(self, message: str, *, sqlstate: str | None = None, reconnect: bool = False) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.reconnect = reconnect  #: the connection is of no more use: open another, and make a new Writer
