"""The server on which revisions are tried."""

import pytest

from dupe_audit.checks.trial.scratch import EMBEDDED, scratch


@pytest.mark.parametrize(
    ("server", "says"), [(EMBEDDED, "a temporary server of this check"), ("own", "the server of database ")]
)
def test_the_server_is_named_before_anything_is_created(server_url, caplog, server, says):
    """The log says where scratch databases are created, on the embedded server as well."""
    caplog.set_level("INFO", logger="alembic.dupe_audit")
    url = server_url if server == "own" else server
    with scratch(url):
        [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"scratch databases are created and dropped on {says}")
