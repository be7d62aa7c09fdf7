"""What is asked of the driver below SQLAlchemy."""

from types import SimpleNamespace

import pytest

from dupe_audit.postgres.driver import commits_by_itself


@pytest.mark.parametrize(
    ("attributes", "expected"), [({"autocommit": True}, True), ({"autocommit": False}, False), ({}, False)]
)
def test_a_driver_that_says_nothing_is_not_in_autocommit(attributes, expected):
    """Only a driver that says so is in autocommit mode, because Alembic's transaction is not left on a guess."""
    adapter = SimpleNamespace(**attributes)
    connection = SimpleNamespace(connection=SimpleNamespace(dbapi_connection=adapter, driver_connection=object()))
    assert expected == commits_by_itself(connection)
