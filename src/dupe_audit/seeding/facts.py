"""What was filled. Facts; nothing here acts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A table that was filled for a revision."""

    revision: str
    table: str  #: ``schema.table``
    rows: int
    exact: int = 0  #: extras that equal their survivor
    divergent: int = 0  #: extras that carry other data
    null_keys: int = 0  #: rows with a NULL in the key
    referenced: int = 0  #: extras that rows of other tables reference
    own: bool = False  #: by the project's own SQL, whose rows are not told apart
