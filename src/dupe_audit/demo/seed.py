"""The demo's table: events like an agent's, the same each time, and the counts that they must give."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from dupe_audit.errors import WrongUsage
from dupe_audit.model import Counts
from dupe_audit.postgres.driver import execute

#: how the agent_name of every row from the demo's writers begins; no seeded row has such a name
WRITERS_PREFIX = "demo-"

# dupe-audit: accept insert-may-raise - it is executed before the constraint exists
EVENTS = """
INSERT INTO agent_actions (id, correlation_id, agent_name, action_type, action_name, action_details, debug_mode,
                           duration_ms, created_at)
SELECT md5('event ' || n)::uuid, md5('trace ' || n / 20)::uuid,
       (ARRAY['agent-researcher', 'agent-coder', 'agent-reviewer', 'agent-tester'])[1 + n / 20 % 4],
       kind.action_type, kind.action_name,
       jsonb_build_object('step', n % 20, 'path', 'src/module_' || n % 977 || '.py'),
       n % 3 = 0, 5 + n::bigint * 37 % 900, timestamptz '2025-11-01 00:00+00' + n * interval '137 ms'
FROM generate_series(0, {originals} - 1) AS n
JOIN (VALUES (0, 'decision', 'select_agent'), (1, 'tool_call', 'Read'), (2, 'tool_call', 'Grep'),
             (3, 'tool_call', 'Edit'), (4, 'tool_call', 'Bash'), (5, 'error', 'import_error'),
             (6, 'tool_call', 'Write'), (7, 'success', 'Bash')) AS kind (number, action_type, action_name)
  ON kind.number = n % 8
"""

# As after a redelivery: the same event under a new id. The first few carry different data, as updated events do.
# dupe-audit: accept insert-may-raise - it is executed before the constraint exists
COPIES = """
INSERT INTO agent_actions (id, correlation_id, agent_name, action_type, action_name, action_details, debug_mode,
                           duration_ms, created_at)
SELECT md5('copy ' || j)::uuid, correlation_id, agent_name, action_type, action_name,
       CASE WHEN j < {divergent} AND j % 2 = 1 THEN action_details || '{{"retry": true}}' ELSE action_details END,
       debug_mode,
       CASE WHEN j < {divergent} AND j % 2 = 0 THEN duration_ms + 1 ELSE duration_ms END, created_at
FROM generate_series(0, {extras} - 1) AS j
JOIN agent_actions ON id = md5('event ' || (j % {groups}) * {stride})::uuid
"""

# As text, so that a difference in any byte of any column shows.
FINGERPRINT = f"""
SELECT count(*) AS rows, coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') AS checksum
FROM agent_actions AS t WHERE NOT starts_with(agent_name, '{WRITERS_PREFIX}')
"""

ARCHIVED = f"""
SELECT count(*) FROM {{archive}} WHERE NOT starts_with(agent_name, '{WRITERS_PREFIX}')
"""

WRITTEN = f"""
SELECT id::text, duration_ms FROM agent_actions WHERE starts_with(agent_name, '{WRITERS_PREFIX}writer')
"""

WRITTEN_EXTRAS = f"""
SELECT count(*) - count(DISTINCT (correlation_id, action_name, created_at))
FROM agent_actions WHERE starts_with(agent_name, '{WRITERS_PREFIX}writer')
"""

# Without the constraint, each new writer inserts a shared event once; two or more further rows come from old writers.
RACED = f"""
SELECT count(*) FROM (
    SELECT FROM agent_actions WHERE starts_with(agent_name, '{WRITERS_PREFIX}writer')
    GROUP BY correlation_id, action_name, created_at HAVING count(*) > {{new}} + 1
) AS event
"""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The rows that no writer touches: their number, and a checksum over every byte of them."""

    rows: int
    checksum: str


def expected(rows: int, extras: int) -> Counts:
    """Return the counts that the seeded table must give, calculated without counting it.

    Raises:
        WrongUsage: no extras, or more than half of the rows.
    """
    if not 0 < extras <= rows // 2:
        raise WrongUsage(f"The demo needs at least 1 extra and at most half of the rows, not {extras:,} of {rows:,}.")
    # Every sixth extra is a second copy, so that there are groups of two and of three rows.
    groups = extras - extras // 6
    divergent = min(5, groups)
    return Counts(
        rows=rows,
        null_key_rows=0,
        groups=groups,
        extras=extras,
        affected=groups + extras,
        largest_group=3 if extras > groups else 2,
        exact_groups=groups - divergent,
        divergent_groups=divergent,
    )


def seed(connection: Connection, counts: Counts) -> None:
    """Fill the empty table."""
    originals = counts.rows - counts.extras
    stride = originals // counts.groups
    execute(connection, EVENTS.format(originals=originals))
    execute(
        connection,
        COPIES.format(extras=counts.extras, groups=counts.groups, stride=stride, divergent=counts.divergent_groups),
    )
    execute(connection, "ANALYZE agent_actions")


def fingerprint(connection: Connection) -> Fingerprint:
    """Return the fingerprint of the seeded rows that are in the table now."""
    row = execute(connection, FINGERPRINT).one()
    return Fingerprint(row.rows, row.checksum)


def archived(connection: Connection, archive: str) -> int:
    """Return how many of the seeded rows are in *archive*."""
    return int(execute(connection, ARCHIVED.format(archive=archive)).scalar_one())


def written(connection: Connection) -> dict[str, int]:
    """Return the writers' rows that are in the table: ids and durations."""
    return {row.id: row.duration_ms for row in execute(connection, WRITTEN)}


def count_raced_events(connection: Connection, new: int) -> int:
    """Return how many events at least two old writers have inserted; valid only before the constraint exists.

    Args:
        new: number of writers that leave duplicates to the constraint.
    """
    return int(execute(connection, RACED.format(new=new)).scalar_one())


def written_extras(connection: Connection) -> int:
    """Return how many extras from the writers are in the table now."""
    return int(execute(connection, WRITTEN_EXTRAS).scalar_one())
