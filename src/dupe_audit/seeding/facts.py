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
    referenced: int = 0  #: extras that other rows reference
    own: bool = False  #: filled by the project's own SQL; then no extras are counted
