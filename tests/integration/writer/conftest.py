"""A writer on a table of the test's own, in each of the two ways in which a batch can travel."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from dupe_audit.model import UniqueKey
from dupe_audit.writer import Outcome, Writer, delivery

Write = Callable[..., list[Outcome]]


@pytest.fixture(params=["row", "stage"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether batches go as one statement a row, or through the stage, however few rows they have."""
    monkeypatch.setattr(delivery, "STAGE_FROM", 1 if request.param == "stage" else 1_000_000)
    return request.param


@pytest.fixture
def writer(psycopg_connect: Callable[..., psycopg.Connection]) -> Callable[..., Writer]:
    """Make a writer over a connection of its own."""

    def make(key: UniqueKey, columns: list[str], **options: Any) -> Writer:
        return Writer(psycopg_connect(autocommit=True), key, columns, **options)

    return make
