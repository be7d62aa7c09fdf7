"""The filters of env.py, as the rule about models calls them."""

import logging

from dupe_audit.checks.models.filters import Included


def test_alembic_announces_nothing_while_the_filters_are_prepared(caplog):
    """Alembic's lines about a new context do not reach the user, although env.py has set its logger to INFO."""
    caplog.set_level(logging.INFO, logger="alembic")
    Included(None, None)
    assert [] == caplog.records
    logging.getLogger("alembic").info("as before")
    assert ["as before"] == caplog.messages
