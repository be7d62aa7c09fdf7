"""The directives as reviewable SQL for ``alembic upgrade --sql``: execute it with ``psql -v ON_ERROR_STOP=1``.

Each contains a guard inside the transaction that stamps the version: if the guard fails, the version is not stamped,
even if psql continues after errors.
"""

from dupe_audit.directives.script.ahead import judge_ahead
from dupe_audit.directives.script.server import judge_server
from dupe_audit.directives.script.tasks import refuse, write
from dupe_audit.directives.script.undone import Undone

__all__ = ["Undone", "judge_ahead", "judge_server", "refuse", "write"]
