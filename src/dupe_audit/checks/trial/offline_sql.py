"""The output of ``alembic upgrade --sql`` for each revision."""

from __future__ import annotations

import io
from collections.abc import Sequence

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationStep

from dupe_audit.checks.evidence import Revision
from dupe_audit.checks.trial.migrate import on_scratch
from dupe_audit.checks.trial.project import Project


def offline_sql(project: Project, url: str, revisions: Sequence[Revision]) -> dict[str, str]:
    """Return the SQL of each revision that can be printed without a database.

    A revision is missing from the result if it needs one, or if it is a merge.
    """
    printed = {}
    for revision in revisions:
        text = _print(project, url, revision)
        if text is not None:
            printed[revision.id] = text
    return printed


def _print(project: Project, url: str, revision: Revision) -> str | None:
    if len(revision.parents) > 1:
        return None  # a merge; Alembic's offline mode can only start from one revision
    script = project.script

    def steps(_heads: object, _context: MigrationContext) -> list[MigrationStep]:
        return [MigrationStep.upgrade_from_script(script.revision_map, script.get_revision(revision.id))]

    config, buffer = project.config(url), io.StringIO()
    config.output_buffer = buffer
    start = revision.parents[0] if revision.parents else None
    try:
        with on_scratch(url), EnvironmentContext(config, script, fn=steps, as_sql=True, starting_rev=start):
            script.run_env()
    except (Exception, SystemExit):  # noqa: BLE001 - any error of a revision that needs a database
        return None
    return buffer.getvalue()
